package punch

import (
	"container/heap"
	"crypto/ecdh"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A world is two peers behind NATs and a relay, with a round trip of 80 ms between any two,
// in virtual time.
type world struct {
	t      *testing.T
	now    time.Time
	rand   *rand.Rand
	loss   float64
	queue  events
	serial int
	a, b   *end
}

// searchSockets is less than the numbers of the sockets of a search.
const searchSockets = 1000

const delay = 40 * time.Millisecond

var relay = netip.MustParseAddrPort("9.9.9.9:9")

type event struct {
	at     time.Time
	serial int
	do     func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].serial < q[j].serial
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// An end is one of the peers.
type end struct {
	w     *world
	nat   *nat
	key   *ecdh.PrivateKey
	s     *Checklist
	paid  int // by the other end, for probes to it
	spent int // on addresses that are not validated
	bytes int // sent in all
	// opened counts the sockets that were opened for a search; only the last Sockets are
	// still open.
	opened int
	found  time.Time
	wake   time.Time
}

func newWorld(t *testing.T, a, b natKind, seed uint64) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), rand: rand.New(rand.NewPCG(seed, 1))}
	w.a = w.newEnd(a, "1.1.1.1")
	w.b = w.newEnd(b, "2.2.2.2")
	return w
}

func (w *world) newEnd(k natKind, ip string) *end {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(w.rand.Uint32())
	}
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return &end{w: w, nat: newNAT(k, netip.MustParseAddr(ip), w.rand), key: key}
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now.Add(d), w.serial, do})
}

func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

func (w *world) other(e *end) *end {
	if e == w.a {
		return w.b
	}
	return w.a
}

// send carries a probe.
func (e *end) send(to Endpoint, b []byte) {
	w := e.w
	c := e.s.candidate(to)
	if c == nil || c.validated.IsZero() {
		e.spent += packetCost(to.Addr, len(b))
	}
	e.bytes += packetCost(to.Addr, len(b))
	from := e.nat.out(to.Via, to.Addr)
	if w.rand.Float64() < w.loss {
		return
	}
	o, p := w.other(e), append([]byte(nil), b...)
	w.after(delay, func() {
		if o.nat.ip != to.Addr.Addr() {
			return
		}
		socket, ok := o.nat.in(from, to.Addr.Port())
		if socket > searchSockets && socket <= searchSockets+o.opened-Sockets {
			return // closed
		}
		if ok && o.s != nil {
			if o.s.Receive(w.now, socket, from, p, o.send) {
				o.paid += packetCost(to.Addr, len(p))
			}
			o.step()
		}
	})
}

func (e *end) step() {
	if e.s == nil {
		return
	}
	w := e.w
	next := e.s.Step(w.now, e.send)
	if e.found.IsZero() && e.s.State(w.now).Found {
		e.found = w.now
	}
	if e.spent > e.paid {
		w.t.Fatalf("%d bytes to addresses that are not validated, credit for %d", e.spent, e.paid)
	}
	if next.IsZero() {
		return
	}
	if !next.After(w.now) {
		w.t.Fatalf("Step wants to be called again at once")
	}
	e.wake = next
	w.after(next.Sub(w.now), func() {
		if e.wake.Equal(next) {
			e.step()
		}
	})
}

func (e *end) pay(n int) {
	e.paid += n
	e.s.AddCredit(n)
}

func (e *end) config(allowance int) Config {
	e.paid += allowance
	return Config{Caller: [32]byte(e.w.a.key.PublicKey().Bytes()), Rand: e.w.rand.Uint64, Allowance: allowance}
}

// candidates returns the candidates of an end: its predicted ports, and the address at which
// the relay sees its socket 0.
func (e *end) candidates() (guesses []netip.AddrPort, seen netip.AddrPort) {
	seen = e.nat.out(0, relay)
	if e.nat.mapping == sequential {
		guesses = NextPorts(e.nat.out(999, relay), 10)
	}
	return guesses, seen
}

// addCandidates takes in the candidates of the other end and begins a search if it helps.
func (e *end) addCandidates(o *end, guesses []netip.AddrPort, seen netip.AddrPort) {
	w := e.w
	e.s.AddCandidates(w.now, true, guesses...)
	e.s.AddCandidates(w.now, false, seen)
	e.pay(4096)
	switch {
	case e.nat.mapping == random && o.nat.mapping <= independent:
		e.pay(SearchCost(true, seen.Addr()))
		e.s.SearchFromSockets(w.now, seen, func() (int, bool) {
			e.opened++
			return searchSockets + e.opened, true
		})
	case o.nat.mapping == random && e.nat.mapping <= independent:
		e.pay(SearchCost(false, seen.Addr()))
		e.s.SearchPorts(w.now, seen.Addr())
	}
}

// call has a call b and runs for d. If known, a has b's address beforehand.
func (w *world) call(known bool, d time.Duration) {
	a, b := w.a, w.b
	guessA, seenA := a.candidates()
	_, seenB := b.candidates()
	var before []netip.AddrPort
	if known && a.nat.mapping != sequential {
		before = append(before, seenB)
	}
	var err error
	a.s, err = NewCaller(a.config(1260), w.now, w.now.Add(2*delay), before)
	if err != nil {
		w.t.Fatal(err)
	}
	a.step()
	w.after(2*delay, func() {
		keys, err := NewKeys(b.key, [32]byte(a.key.PublicKey().Bytes()), false)
		if err != nil {
			w.t.Fatal(err)
		}
		begin := w.now
		if b.nat.mapping >= sequential {
			begin = begin.Add(2 * delay)
		}
		if b.s, err = NewCallee(b.config(0), keys, w.now, begin); err != nil {
			w.t.Fatal(err)
		}
		guessB, seenB := b.candidates()
		b.addCandidates(a, guessA, seenA)
		b.step()
		w.after(2*delay, func() {
			keys, err := NewKeys(a.key, [32]byte(b.key.PublicKey().Bytes()), true)
			if err != nil {
				w.t.Fatal(err)
			}
			a.addCandidates(b, guessB, seenB)
			a.s.SetKeys(w.now, keys, a.send)
			a.step()
		})
	})
	w.run(d)
}
