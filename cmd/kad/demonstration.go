package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A demonstration is one run of demo.
type demonstration struct {
	*app
	fleet *fleet
	k     int // holders of each value
	items []demoItem
	wrong int // gets that did not bring the right value
}

func (a *app) demo(ctx context.Context, n int, items []demoItem) error {
	// In a network of 20 the usual 20 holders would be all nodes, and no search would
	// be needed. Six of 20 nodes die, so that at least two of eight holders survive.
	k := 20
	if n < 60 {
		k = 8
	}
	begin := time.Now()
	d := &demonstration{app: a, fleet: newFleet("demo", k, a.logger()), k: k, items: items}
	defer d.fleet.close()
	if err := d.join(ctx, n); err != nil {
		return err
	}
	if err := d.put(ctx); err != nil {
		return err
	}
	from := "a node that does not hold it"
	if n <= k {
		from = "another node (they are so few that all hold it)"
	}
	d.print("\nFinding each value from %s.", from)
	if err := d.getAll(ctx); err != nil {
		return err
	}
	if err := d.killSome(n); err != nil {
		return err
	}
	d.print("Finding each value again, from those that live.")
	if err := d.getAll(ctx); err != nil {
		return err
	}
	return d.verdict(begin)
}

// verdict ends the demonstration: it is an error if any value was not right.
func (d *demonstration) verdict(begin time.Time) error {
	total := time.Since(begin)
	d.object(struct {
		Event   string  `json:"event"`
		OK      bool    `json:"ok"`
		Values  int     `json:"values"`
		Wrong   int     `json:"wrong"`
		Seconds float64 `json:"seconds"`
	}{"done", d.wrong == 0, len(d.items), d.wrong, seconds(total)})
	if d.wrong > 0 {
		return fmt.Errorf("%d of %d gets did not bring the right value", d.wrong, 2*len(d.items))
	}
	d.print("\nEvery value came back right, before the deaths and after them. %.1f s in all.", total.Seconds())
	return nil
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}

func (d *demonstration) join(ctx context.Context, n int) error {
	d.print("Starting %d nodes on this machine, which talk QUIC. Each has a key and a UDP\nport of its own.", n)
	start := time.Now()
	live := isTerminal(d.out) && !d.json
	err := d.fleet.start(ctx, n, []int{0}, func(joined int) {
		switch {
		case live:
			fmt.Fprintf(d.out, "\r  joined: %d of %d", joined, n)
		case joined == n || joined*4/n > (joined-1)*4/n:
			d.print("  joined: %d of %d", joined, n)
		}
	})
	if live {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	peers := 0
	for _, m := range d.fleet.living() {
		peers += m.Stats().Peers
	}
	took := time.Since(start)
	d.object(struct {
		Event   string  `json:"event"`
		Nodes   int     `json:"nodes"`
		Peers   float64 `json:"peers_per_node"`
		Seconds float64 `json:"seconds"`
	}{"joined", n, float64(peers) / float64(n), seconds(took)})
	d.print("  All joined through node 0 in %.1f s. A node now knows %d others on average.", took.Seconds(), peers/n)
	return nil
}

func (d *demonstration) put(ctx context.Context) error {
	d.print("\nStoring %s, each on the %d nodes whose keys are nearest to the value's.", plural(len(d.items), "value"), min(d.k, len(d.fleet.living())))
	for _, item := range d.items {
		m := pick(d.fleet.living())
		start := time.Now()
		var stored node.Stored
		err := d.within(ctx, func(ctx context.Context) (err error) {
			stored, err = m.Put(ctx, item.key, item.value, nil)
			return err
		})
		if err != nil {
			return fmt.Errorf("node %d puts %s: %w", m.number, wire.Printable(item.name), err)
		}
		took := time.Since(start)
		d.object(struct {
			Event  string      `json:"event"`
			Node   int         `json:"node"`
			Name   string      `json:"name"`
			Key    routing.Key `json:"key"`
			Stored int         `json:"stored"`
			Of     int         `json:"of"`
			TookMS float64     `json:"took_ms"`
		}{"put", m.number, item.name, item.key, stored.Count, stored.Of, ms(took)})
		d.print("  node %d puts %s = %s: stored on %d of %d, in %.1f ms", m.number, d.show(item.name), d.show(string(item.value)),
			stored.Count, stored.Of, ms(took))
	}
	return nil
}

func (d *demonstration) getAll(ctx context.Context) error {
	for _, item := range d.items {
		if err := d.get(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

func (d *demonstration) get(ctx context.Context, item demoItem) error {
	m := pick(d.strangers(item.key))
	r := new(control.Recorder)
	start := time.Now()
	var value []byte
	err := d.within(node.WithTrace(ctx, r.Trace()), func(ctx context.Context) (err error) {
		found, err := m.Get(ctx, item.key, nil)
		value = found.Data
		return err
	})
	took := time.Since(start)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	right := err == nil && bytes.Equal(value, item.value)
	if !right {
		d.wrong++
	}
	hops := r.Hops()

	type request struct {
		Node int `json:"node"`
		control.Hop
	}
	j := struct {
		Event    string    `json:"event"`
		Node     int       `json:"node"`
		Name     string    `json:"name"`
		Value    []byte    `json:"value"`
		Right    bool      `json:"right"`
		Error    string    `json:"error,omitempty"`
		Requests []request `json:"requests"`
		TookMS   float64   `json:"took_ms"`
	}{"get", m.number, item.name, value, right, "", []request{}, ms(took)}
	d.print("  node %d looks for %s:", m.number, d.show(item.name))
	for _, h := range hops {
		number, _ := d.fleet.number(h.Peer)
		j.Requests = append(j.Requests, request{number, h})
		d.print("    %s", sentence(h, fmt.Sprintf("node %d, %s in common", number, plural(h.CommonBits, "bit"))))
	}
	if len(hops) == 0 {
		d.print("    has it itself")
	}
	switch {
	case right:
		d.print("    %s, right, in %.1f ms", d.show(string(value)), ms(took))
	case err != nil:
		j.Error = err.Error()
		d.print("    failed: %s", oneLine(err.Error()))
	default:
		d.print("    WRONG: %s", d.show(string(value)))
	}
	d.object(j)
	return nil
}

// strangers are the living nodes that are not among the k that were nearest to
// key at first, or, where there are none, all that live.
func (d *demonstration) strangers(key routing.Key) []*member {
	d.fleet.mu.Lock()
	all := slices.Clone(d.fleet.members)
	d.fleet.mu.Unlock()
	slices.SortFunc(all, func(a, b *member) int { return key.CompareDistance(a.Key(), b.Key()) })
	living := d.fleet.living()
	far := slices.DeleteFunc(slices.Clone(living), func(m *member) bool {
		return slices.Contains(all[:min(d.k, len(all))], m)
	})
	if len(far) == 0 {
		return living
	}
	return far
}

func (d *demonstration) killSome(n int) error {
	living := d.fleet.living()
	rand.Shuffle(len(living), func(i, j int) { living[i], living[j] = living[j], living[i] })
	victims := living[:max(1, n*3/10)]
	slices.SortFunc(victims, func(a, b *member) int { return a.number - b.number })
	numbers := make([]int, len(victims))
	var errs []error
	for i, m := range victims {
		numbers[i] = m.number
		errs = append(errs, d.fleet.kill(m))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.object(struct {
		Event string `json:"event"`
		Nodes []int  `json:"nodes"`
	}{"killed", numbers})
	d.print("\nKilling 30 %% of the nodes at once, without a goodbye: %s.", strings.Trim(fmt.Sprint(numbers), "[]"))
	return nil
}

// show is a name or value as the demonstration prints it.
func (d *demonstration) show(s string) string {
	return shorten(strconv.Quote(s), 60)
}

func pick[T any](from []T) T { return from[rand.IntN(len(from))] }
