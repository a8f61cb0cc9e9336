package routing_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// host is a node of the examples, of which the address is a name. The
// transport between them is a function call.
type host struct {
	mu    sync.Mutex
	self  routing.Contact[string]
	table *routing.Table[string]
	value string
}

func newHost(name string) *host {
	self := routing.Contact[string]{Key: routing.KeyOf(name), Addr: name}
	return &host{self: self, table: routing.NewTable(self.Key, routing.TableOptions[string]{})}
}

// seen notes a sign of life.
func (h *host) seen(c routing.Contact[string]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table.Seen(c, time.Now())
}

// findNode answers: these are the nearest I know.
func (h *host) findNode(from routing.Contact[string], target routing.Key) []routing.Contact[string] {
	h.seen(from)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.AppendNearest(nil, target, routing.DefaultK)
}

// lookup finds the nodes nearest to target. This is all that a transport of
// one's own takes.
func (h *host) lookup(ctx context.Context, hosts map[string]*host, target routing.Key) ([]routing.Contact[string], error) {
	h.mu.Lock()
	l := routing.NewLookup(target, h.table.Nearest(target), routing.LookupOptions[string]{Self: h.self})
	h.mu.Unlock()
	err := l.Run(ctx, func(ctx context.Context, q routing.Query[string]) (routing.Reply[string], error) {
		peer, ok := hosts[q.Addr] // on a real network: send target to q.Addr, await the answer
		if !ok {
			return routing.Reply[string]{}, fmt.Errorf("no route to %s", q.Addr)
		}
		closer := peer.findNode(h.self, target)
		h.seen(q.Contact) // it answered
		return routing.Reply[string]{Closer: closer}, nil
	})
	return slices.Collect(l.Closest()), err
}

// network returns n hosts that have joined one after another by way of the first.
func network(ctx context.Context, n int) (map[string]*host, error) {
	hosts := map[string]*host{}
	first := newHost("host 0")
	hosts["host 0"] = first
	for i := 1; i < n; i++ {
		h := newHost(fmt.Sprintf("host %d", i))
		hosts[h.self.Addr] = h
		h.seen(first.self)
		if _, err := h.lookup(ctx, hosts, h.self.Key); err != nil { // to join is to look for oneself
			return nil, err
		}
	}
	return hosts, nil
}

// A lookup over a transport of one's own: here, 200 hosts in one program.
func Example() {
	ctx := context.Background()
	hosts, err := network(ctx, 200)
	if err != nil {
		fmt.Println(err)
		return
	}
	nearest, err := hosts["host 7"].lookup(ctx, hosts, routing.KeyOf("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range nearest[:3] {
		fmt.Printf("%s… is at %q\n", c.Key.String()[:8], c.Addr)
	}
	// Output:
	// 333c4996… is at "host 156"
	// 31a4794e… is at "host 104"
	// 318629d9… is at "host 33"
}

// A put walks towards the key and stores on the way; a get ends at the first
// value.
func ExampleLookup() {
	ctx := context.Background()
	hosts, err := network(ctx, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	target := routing.KeyOf("greeting")

	h := hosts["host 3"]
	put := routing.NewLookup(target, h.table.Nearest(target), routing.LookupOptions[string]{Self: h.self, Store: 3})
	err = put.Run(ctx, func(_ context.Context, q routing.Query[string]) (routing.Reply[string], error) {
		if q.Store {
			hosts[q.Addr].value = "hello world"
		}
		return routing.Reply[string]{Closer: hosts[q.Addr].findNode(h.self, target)}, nil
	})
	fmt.Println("stored on", len(slices.Collect(put.Closest())), err)

	h = hosts["host 77"]
	found := make(chan string, routing.DefaultAlpha)
	get := routing.NewLookup(target, h.table.Nearest(target), routing.LookupOptions[string]{Self: h.self, Quorum: 1})
	err = get.Run(ctx, func(_ context.Context, q routing.Query[string]) (routing.Reply[string], error) {
		value := hosts[q.Addr].value
		if value != "" {
			found <- value
		}
		return routing.Reply[string]{Closer: hosts[q.Addr].findNode(h.self, target), Value: value != ""}, nil
	})
	fmt.Println("found", <-found, err)
	// Output:
	// stored on 20 <nil>
	// found hello world <nil>
}

// Without Run: a loop of one's own asks the lookup what to send and tells it
// the outcome, one query at a time and without goroutines.
func ExampleLookup_Next() {
	hosts, err := network(context.Background(), 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	h, target := hosts["host 3"], routing.KeyOf("hello")
	l := routing.NewLookup(target, h.table.Nearest(target), routing.LookupOptions[string]{K: 3, Self: h.self})
	for !l.Done(time.Now()) {
		for q, ok := l.Next(time.Now()); ok; q, ok = l.Next(time.Now()) {
			closer := hosts[q.Addr].findNode(h.self, target)
			l.Answer(q.Key, routing.Reply[string]{Closer: closer})
		}
	}
	for c := range l.Closest() {
		fmt.Println(c.Addr)
	}
	// Output:
	// host 33
	// host 40
	// host 47
}

// A full bucket asks for a ping of its oldest contact, when that has been
// silent for long, and keeps the newcomer waiting meanwhile.
func ExampleTable_Seen() {
	now := time.Now()
	table := routing.NewTable(routing.Key{}, routing.TableOptions[string]{K: 1})
	table.Seen(routing.Contact[string]{Key: routing.Key{0x01}, Addr: "neighbour"}, now)
	table.Seen(routing.Contact[string]{Key: routing.Key{0x81}, Addr: "old"}, now)

	probe, ok := table.Seen(routing.Contact[string]{Key: routing.Key{0x82}, Addr: "new"}, now.Add(time.Hour))
	fmt.Println("ping", probe.Addr, ok)
	promoted, ok := table.Failed(probe.Key, now.Add(time.Hour)) // it did not answer
	fmt.Println("now there is", promoted.Addr, ok)
	// Output:
	// ping old true
	// now there is new true
}
