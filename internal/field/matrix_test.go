package field

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// The kinds of the matrix: all that let UDP over IPv4 through.
var kinds = natlab.Kinds[:natlab.Carrier+1]

// fewPairs has each kind on each side, and the hard pairs.
var fewPairs = []pair{
	{natlab.Public, natlab.Symmetric},
	{natlab.Symmetric, natlab.Public},
	{natlab.FullCone, natlab.Carrier},
	{natlab.Carrier, natlab.AddressRestricted},
	{natlab.AddressRestricted, natlab.FullCone},
	{natlab.PortRestricted, natlab.PortRestricted},
	{natlab.Linux, natlab.LinuxOpen},
	{natlab.LinuxOpen, natlab.Linux},
	{natlab.SymmetricSequential, natlab.PortRestricted},
	{natlab.Linux, natlab.SymmetricSequential},
	{natlab.PortRestricted, natlab.Symmetric},
	{natlab.Symmetric, natlab.Symmetric},
}

type pair struct{ caller, callee natlab.Kind }

func (p pair) String() string { return p.caller.String() + " calls " + p.callee.String() }

// wanted returns the pairs that -field.pairs selects.
func wanted(pairs []pair) []pair {
	pattern := regexp.MustCompile(*only)
	return slices.DeleteFunc(pairs, func(p pair) bool { return !pattern.MatchString(p.String()) })
}

// relayOnly reports whether no direct path is known for the pair.
func (p pair) relayOnly() bool { return p.caller == natlab.Symmetric && p.callee == natlab.Symmetric }

// A cell is the result of a pair's call, with the round-trip time from the caller to a
// public node at that moment: on a busy machine it exceeds the delay of the lab's links.
type cell struct {
	call
	rtt time.Duration
	err error
}

func (c cell) String() string {
	switch {
	case c.err != nil:
		return "-"
	case !straight(c.Path):
		return fmt.Sprintf("r %d", c.Connected.Milliseconds())
	case c.Direct == c.Connected:
		return fmt.Sprintf("%c %d", c.Path[0], c.Connected.Milliseconds())
	}
	return fmt.Sprintf("%c %d→%d", c.Path[0], c.Connected.Milliseconds(), c.Direct.Milliseconds())
}

// straightWithin bounds the time in which a call finds a path without a relay.
const straightWithin = 30 * time.Second

// Every kind calls every kind. The callee is a node of the network. The caller is in it too,
// as a client, so that no NAT has let it in before the call. Like the user of
// "kad ping PEERID", it knows only the callee's ID, and looks up the rest.
func TestMatrix(t *testing.T) {
	pairs := fewPairs
	if *all || *only != "" {
		pairs = nil
		for _, a := range kinds {
			for _, b := range kinds {
				pairs = append(pairs, pair{a, b})
			}
		}
	}
	pairs = wanted(pairs)
	n := build(t, 6, far)
	callers, callees := map[natlab.Kind]*peer{}, map[natlab.Kind]*peer{}
	var from, to []natlab.Kind
	var fromHosts, toHosts []*natlab.Host
	for _, k := range kinds {
		if slices.ContainsFunc(pairs, func(p pair) bool { return p.caller == k }) {
			from, fromHosts = append(from, k), append(fromHosts, n.Home(k.String()+"-caller", k))
		}
		if slices.ContainsFunc(pairs, func(p pair) bool { return p.callee == k }) {
			to, toHosts = append(to, k), append(toHosts, n.Home(k.String()+"-callee", k))
		}
	}
	for i, p := range n.peers(toHosts, setting{}) {
		callees[to[i]] = p
	}
	for i, p := range n.peers(fromHosts, setting{Client: true}) {
		callers[from[i]] = p
	}
	for _, p := range callees {
		p.findable(n.public[len(n.public)-1])
	}
	cells := callAll(pairs, func(p pair) cell {
		var c cell
		caller, callee := callers[p.caller], callees[p.callee]
		if c.err = caller.do(order{Do: "hang up", Peer: callee.ID}, nil); c.err != nil {
			return c
		}
		o := order{Do: "call", Peer: callee.ID, For: straightWithin}
		if p.relayOnly() {
			o.For = straightWithin / 10
		}
		if c.err = caller.do(order{Do: "ping", Peer: n.public[0].ID}, &c.rtt); c.err != nil {
			return c
		}
		if c.err = caller.do(o, &c.call); c.err == nil {
			c.err = caller.do(order{Do: "hang up", Peer: callee.ID}, nil)
		}
		return c
	})
	printMatrix(t, from, to, cells)
	judge(t, pairs, cells)
}

// callAll makes the calls, some at a time. Concurrent calls have no peer in common.
func callAll(pairs []pair, do func(pair) cell) map[pair]cell {
	var mu sync.Mutex
	free := sync.NewCond(&mu)
	left, cells := slices.Clone(pairs), map[pair]cell{}
	calling, called := map[natlab.Kind]bool{}, map[natlab.Kind]bool{}
	busy := func(p pair) bool { return calling[p.caller] || called[p.callee] }
	var wg sync.WaitGroup
	for range *parallel {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for len(left) > 0 {
				i := slices.IndexFunc(left, func(p pair) bool { return !busy(p) })
				if i < 0 {
					free.Wait()
					continue
				}
				p := left[i]
				left = slices.Delete(left, i, i+1)
				calling[p.caller], called[p.callee] = true, true
				mu.Unlock()
				c := do(p)
				mu.Lock()
				cells[p] = c
				calling[p.caller], called[p.callee] = false, false
				free.Broadcast()
			}
		})
	}
	wg.Wait()
	return cells
}

func printMatrix(t *testing.T, from, to []natlab.Kind, cells map[pair]cell) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "calls")
	for _, k := range to {
		fmt.Fprintf(w, "\t%v", k)
	}
	for _, a := range from {
		fmt.Fprintf(w, "\n%v", a)
		for _, b := range to {
			c, ok := cells[pair{a, b}]
			if !ok {
				fmt.Fprint(w, "\t")
				continue
			}
			fmt.Fprintf(w, "\t%v", c)
		}
	}
	w.Flush()
	t.Logf("ms to connected→to a path without a relay; d direct, p punched, r by relay, - not at all\n%s", &text)
}

// judge checks the cells against the promises.
func judge(t *testing.T, pairs []pair, cells map[pair]cell) {
	var direct, relayed, called, toDirect, pinged, rtts times
	connected := 0
	for _, p := range pairs {
		c := cells[p]
		switch {
		case c.err != nil:
			t.Errorf("%v: %v", p, c.err)
			continue
		case straight(c.Path):
			direct, toDirect = append(direct, c.Connected), append(toDirect, c.Direct)
		default:
			relayed = append(relayed, c.Connected)
			if !p.relayOnly() {
				t.Logf("%v: by relay still after %v", p, straightWithin)
			}
		}
		connected++
		pinged, rtts = append(pinged, c.Pinged), append(rtts, c.rtt)
		if c.Called > 0 {
			called = append(called, c.Called)
		}
	}
	t.Logf("connected %d of %d, %d of them without a relay", connected, len(pairs), len(direct))
	if least := len(pairs) * 75 / 81; len(direct) < least {
		t.Errorf("%d of %d without a relay, want at least %d", len(direct), len(pairs), least)
	}
	t.Logf("a ping by ID was answered after %v; a round trip to a public node took %v", pinged, rtts)
	within(t, "a ping by ID, median", pinged.median(), rtts, 7.5)
	within(t, "the worst", pinged.worst(), rtts, 31)
	t.Logf("dials by ID that end without a relay: connected after %v, without a relay after %v", direct, toDirect)
	t.Logf("dials by ID that stay with one: connected after %v", relayed)
	t.Logf("of those, from the call to connected: %v", called)
	target(t, "a ping by ID, median", pinged.median(), 600*time.Millisecond)
	target(t, "the worst", pinged.worst(), 2500*time.Millisecond)
	target(t, "call to connected, median", called.median(), rtt*5/2+30*time.Millisecond)
	target(t, "the worst", called.worst(), rtt*4)
	target(t, "dial to a path without a relay, median", toDirect.median(), rtt*9/2+30*time.Millisecond)
}

// times are of one kind of thing.
type times []time.Duration

func (ts times) quantile(q float64) time.Duration {
	if len(ts) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ts))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func (ts times) sorted() (all []time.Duration) {
	for _, d := range slices.Sorted(slices.Values(ts)) {
		all = append(all, ms(d))
	}
	return all
}

func (ts times) median() time.Duration { return ts.quantile(0.5) }
func (ts times) worst() time.Duration  { return ts.quantile(1) }

func (ts times) String() string {
	return fmt.Sprintf("%v median, %v worst of %d", ms(ts.median()), ms(ts.worst()), len(ts))
}
