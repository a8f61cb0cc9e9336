package node_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// loopback is any free port of this machine.
var loopback = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")}

// start starts a node that joins through the given addresses.
func start(ctx context.Context, c node.Config, through ...ma.Multiaddr) *node.Node {
	c.Listen, c.Bootstrap, c.NoPortMapping = loopback, through, true
	n, err := node.New(c)
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return n
}

// pair starts two nodes of one network.
func pair(ctx context.Context) (a, b *node.Node, stop func()) {
	a = start(ctx, node.Config{})
	b = start(ctx, node.Config{}, a.Addrs()[0])
	return a, b, func() {
		b.Close()
		a.Close()
	}
}

// Two nodes make a network. A value that one puts, the other gets.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	first, err := node.New(node.Config{Listen: loopback, NoPortMapping: true})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	if err := first.Start(ctx); err != nil {
		log.Fatal(err)
	}

	second, err := node.New(node.Config{Listen: loopback, NoPortMapping: true, Bootstrap: first.Addrs()})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	if err := second.Start(ctx); err != nil { // returns once it has joined
		log.Fatal(err)
	}

	key := routing.KeyOf("greeting")
	stored, err := first.Put(ctx, key, []byte("hello"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored)

	value, err := second.Get(ctx, key, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, by the first node: %v\n", value.Data, value.Publisher == first.ID())
	// Output:
	// stored on 2 of 2
	// hello, by the first node: true
}

// Only the key of its publisher can replace an owned record.
func ExampleNode_PutOwned() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	stored, err := a.PutOwned(ctx, []byte("status"), []byte("at work"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := a.PutOwned(ctx, []byte("status"), []byte("at home"), nil); err != nil {
		log.Fatal(err)
	}
	v, err := b.Get(ctx, stored.Key, &node.GetOptions{Kind: wire.KindOwned})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", v.Name, v.Data)
	// Output: status: at home
}

// With IfSeq, a put replaces only the version that its writer has read.
func ExamplePutOptions_compareAndSet() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, _, stop := pair(ctx)
	defer stop()

	name, none := []byte("counter"), uint64(0)
	if _, err := a.PutOwned(ctx, name, []byte("1"), &node.PutOptions{IfSeq: &none}); err != nil {
		log.Fatal(err)
	}
	_, err := a.PutOwned(ctx, name, []byte("1"), &node.PutOptions{IfSeq: &none})
	fmt.Println("again:", errors.Is(err, node.ErrConflict))

	v, err := a.Get(ctx, routing.Key{}, &node.GetOptions{Kind: wire.KindOwned, Name: name})
	if err != nil {
		log.Fatal(err)
	}
	_, err = a.PutOwned(ctx, name, []byte("2"), &node.PutOptions{IfSeq: &v.Seq})
	fmt.Println("after reading it:", err)
	// Output:
	// again: true
	// after reading it: <nil>
}

// A provider says that it has what belongs to a key. It renews that until StopProviding.
func ExampleNode_FindProviders() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	song := routing.KeyOf("song.flac")
	if _, err := a.Provide(ctx, song); err != nil {
		log.Fatal(err)
	}
	for p, err := range b.FindProviders(ctx, song) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("provided by a:", p.ID == a.ID(), "with addresses:", len(p.Addrs) > 0)
	}
	// Output: provided by a: true with addresses: true
}

// Dial opens a stream to a peer by its ID, wherever it is.
func ExampleNode_Dial() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	ln, err := a.Listen("/time/1")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		s, err := ln.AcceptStream(ctx)
		if err != nil {
			return
		}
		defer s.Close()
		fmt.Fprintf(s, "%s asks for %s\n", label(s.Peer(), a, b), s.Protocol())
	}()

	s, err := b.Dial(ctx, a.ID(), "/time/1")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	line, err := bufio.NewReader(s).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(line)
	fmt.Println("path:", s.Path().Kind)
	// Output:
	// b asks for /time/1
	// path: direct
}

func label(id wire.PeerID, a, b *node.Node) string {
	return map[wire.PeerID]string{a.ID(): "a", b.ID(): "b"}[id]
}

// Handle serves a protocol like net/http serves requests.
func ExampleNode_Handle() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	echo, err := a.Handle("/echo/1", 100, func(s *node.Stream) { io.Copy(s, s) })
	if err != nil {
		log.Fatal(err)
	}
	s, err := b.Dial(ctx, a.ID(), "/echo/1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(s, "hello")
	s.CloseWrite()
	back, err := io.ReadAll(s)
	s.Close()
	fmt.Printf("%s %v\n", back, err)
	fmt.Println("ended:", echo.Shutdown(ctx))
	// Output:
	// hello <nil>
	// ended: <nil>
}

// Peers that name the same key find each other.
func ExampleNode_Rendezvous() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	room := routing.KeyOf("room/blue")
	there := make(chan bool)
	go func() {
		defer close(there)
		for id := range a.Rendezvous(ctx, room) { // until it meets b
			if id == b.ID() {
				return
			}
		}
	}()
	for id, err := range b.Rendezvous(ctx, room) {
		if err == nil && id == a.ID() {
			fmt.Println("b has found a")
			break
		}
	}
	<-there
	// Output: b has found a
}

// A trace watches one operation, or with Config.Trace everything that a node does.
func ExampleTrace() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, b, stop := pair(ctx)
	defer stop()

	var mu sync.Mutex
	var steps []string
	step := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, fmt.Sprintf(format, args...))
	}
	traced := node.WithTrace(ctx, &node.Trace{
		Lookup: func(e node.LookupStart) { step("begin %s", e.Kind) },
		Query:  func(e node.QueryEvent) { step("ask %s", label(e.Peer, a, b)) },
		Done:   func(e node.LookupDone) { step("done, %d failed", e.Failed) },
	})
	if _, err := b.Nearest(traced, routing.KeyOf("x")); err != nil {
		log.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	fmt.Println(slices.Compact(steps))
	// Output: [begin lookup ask a done, 0 failed]
}

// The rules of a namespace decide which records a network keeps.
func ExampleNamespace() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rules := map[string]node.Namespace{"score": {
		Validate: func(v node.Value) error {
			if len(v.Data) != 1 || v.Data[0] < '0' || v.Data[0] > '9' {
				return fmt.Errorf("a score of %q, want one digit", v.Data)
			}
			return nil
		},
		Better: func(a, b node.Value) bool { return a.Data[0] > b.Data[0] },
	}}
	n := start(ctx, node.Config{Namespaces: rules})
	defer n.Close()

	name := []byte("/score/chess")
	_, err := n.Put(ctx, routing.Key{}, []byte("ten"), &node.PutOptions{Name: name})
	fmt.Println("refused:", errors.Is(err, node.ErrRefused))
	if _, err := n.Put(ctx, routing.Key{}, []byte("7"), &node.PutOptions{Name: name}); err != nil {
		log.Fatal(err)
	}
	v, err := n.Get(ctx, routing.Key{}, &node.GetOptions{Name: name})
	fmt.Printf("%s %v\n", v.Data, err)
	// Output:
	// refused: true
	// 7 <nil>
}
