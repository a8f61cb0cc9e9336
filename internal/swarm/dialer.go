package swarm

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// MaxDialAddrs bounds the addresses of a peer that a dial tries at first.
	MaxDialAddrs = 4

	// DialStagger is the time between two attempts (RFC 8305 §8, Connection Attempt Delay).
	DialStagger = 250 * time.Millisecond

	// unprovenDelay is when a peer that has relays is also dialled at addresses where this
	// node has never dialled it: by then the call has had time for six round trips of 80 ms.
	// A packet that arrives from outside before that could change the mapping of the peer's
	// NAT.
	unprovenDelay = 500 * time.Millisecond

	// maxRaceAddrs bounds the addresses that one dial tries, those that it learns while it
	// lasts included: an unknown peer may have named them.
	maxRaceAddrs = 2 * MaxDialAddrs
)

// A DialHost knows where peers are and makes connections to them. Goroutines share it.
type DialHost interface {
	// Addrs returns the addresses of a peer, the best first.
	Addrs(id wire.PeerID) []wire.Addr

	// HasDialled reports whether this node has reached the peer by dialling the address,
	// and no later dial there failed.
	HasDialled(id wire.PeerID, at wire.Addr) bool

	// Relays returns the relays through which the peer can be called.
	Relays(id wire.PeerID) []wire.PeerID

	// Dial connects to a peer at one address, which came from a multiaddr.
	Dial(ctx context.Context, id wire.PeerID, to netip.AddrPort, from wire.Addr) (*quic.Conn, error)

	// Call connects to a peer through its relays, also through those that follow in the
	// channel while the call lasts.
	Call(ctx context.Context, id wire.PeerID, relays <-chan wire.PeerID) (*quic.Conn, error)

	// ResolveFailed learns that an address holds a name that does not resolve.
	ResolveFailed(id wire.PeerID, a wire.Addr, err error)
}

// A Dialer connects to a peer by racing all ways to it. Its fields are set before the first
// Dial. Goroutines may share it.
type Dialer struct {
	Host   DialHost
	Wanted *Wanted // tells when more becomes known about where a peer is

	FirstRelays int // how many relays a dial calls at first
	MaxRelays   int // how many it calls at most, those that it learns while it lasts included
}

// A dialTarget is a socket address and the multiaddr it came from.
type dialTarget struct {
	addr netip.AddrPort
	from wire.Addr
}

// A race is one dial: the addresses and relays of a peer, and the state of each attempt. One
// goroutine owns it.
type race struct {
	d   *Dialer
	id  wire.PeerID
	ctx context.Context

	results chan raceResult
	running int // names being resolved, dials and calls

	waiting []dialTarget // to be dialled, the best first
	entered int          // addresses that were ever in waiting
	seen    []wire.Addr  // addresses that look has read, names included
	dials   int          // under way
	due     time.Time    // when the next address may be dialled while one is under way

	relayed bool // the peer has relays, by its latest word
	calling bool
	began   time.Time   // when the call did
	late    *time.Timer // unprovenDelay that
	called  []wire.PeerID
	more    chan wire.PeerID // further relays, for the call under way
	causes  []error
}

type raceResult struct {
	what     int
	conn     *quic.Conn
	errs     []error
	resolved []dialTarget
}

const (
	raceResolved = iota
	raceDialled
	raceCalled
)

// Dial connects to a peer by any of its addresses and relays, also by those that become
// known while it lasts. It dials the addresses one after the other, DialStagger apart (happy
// eyeballs, RFC 8305), and calls the peer through its relays at the same time. The first
// connection that authenticates wins. The peer must be in Wanted (AddDial). If there is no
// connection, Dial reports whether it tried any address or relay, and why that failed.
func (d *Dialer) Dial(ctx context.Context, id wire.PeerID) (won *quic.Conn, tried bool, causes []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &race{d: d, id: id, ctx: ctx,
		late:    time.NewTimer(unprovenDelay),
		results: make(chan raceResult, maxRaceAddrs+d.MaxRelays), more: make(chan wire.PeerID, d.MaxRelays)}
	defer r.late.Stop()
	news := d.Wanted.Take(id)
	r.look()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		if won == nil {
			if i := r.ready(); i >= 0 {
				if wait := time.Until(r.due); r.dials > 0 && wait > 0 {
					next.Reset(wait)
				} else {
					r.dial(i)
					continue
				}
			}
		}
		if r.running == 0 {
			return won, r.entered+len(r.called) > 0, r.causes
		}
		select {
		case <-next.C:
		case <-r.late.C:
		case <-news:
			news = d.Wanted.Take(id)
			if won == nil {
				r.look()
			}
		case got := <-r.results:
			if c := r.take(got); c != nil && won == nil {
				won = c
				cancel()
			} else if c != nil {
				c.Close(wire.CloseDuplicate, "")
			}
		}
	}
}

// look reads where the peer is known to be now. New addresses go first: they are more likely
// to be right than those that have not answered so far.
func (r *race) look() {
	most, mostRelays := maxRaceAddrs, r.d.MaxRelays
	if len(r.seen) == 0 {
		most = MaxDialAddrs
	}
	if len(r.called) == 0 {
		mostRelays = r.d.FirstRelays
	}
	var fresh []dialTarget
	for _, a := range r.d.Host.Addrs(r.id) {
		if slices.Contains(r.seen, a) || len(r.seen) >= most {
			continue
		}
		r.seen = append(r.seen, a)
		if ap, ok := a.AddrPort(); ok {
			fresh = append(fresh, dialTarget{ap, a})
		} else {
			r.resolve(a)
		}
	}
	r.enter(fresh)
	relays := r.d.Host.Relays(r.id)
	r.relayed = len(relays) > 0
	for _, relay := range relays {
		if len(r.called) < mostRelays && !slices.Contains(r.called, relay) {
			r.called = append(r.called, relay)
			r.more <- relay
		}
	}
	if len(r.more) > 0 && !r.calling {
		r.call()
	}
}

// enter puts targets before those that wait. The first of them is dialled at once.
func (r *race) enter(fresh []dialTarget) {
	fresh = fresh[:min(len(fresh), maxRaceAddrs-r.entered)]
	if len(fresh) > 0 {
		r.entered += len(fresh)
		r.waiting = slices.Concat(fresh, r.waiting)
		r.due = time.Now()
	}
}

// resolve looks up a name. The other addresses of the peer are tried meanwhile.
func (r *race) resolve(a wire.Addr) {
	r.running++
	go func() {
		resolved, err := quic.Resolve(r.ctx, wire.JoinPeer(a, r.id))
		result := raceResult{what: raceResolved}
		for _, ap := range resolved[:min(len(resolved), MaxDialAddrs)] {
			result.resolved = append(result.resolved, dialTarget{ap, a})
		}
		if err != nil && r.ctx.Err() == nil {
			r.d.Host.ResolveFailed(r.id, a, err)
			result.errs = []error{err}
		}
		r.results <- result
	}()
}

// ready returns the index of the next target that may be dialled, -1 if there is none.
func (r *race) ready() int {
	if len(r.waiting) > 0 && (!r.calling || !r.relayed || time.Since(r.began) >= unprovenDelay) {
		return 0
	}
	return slices.IndexFunc(r.waiting, func(t dialTarget) bool { return r.d.Host.HasDialled(r.id, t.from) })
}

func (r *race) dial(i int) {
	t := r.waiting[i]
	r.waiting = slices.Delete(r.waiting, i, i+1)
	r.due = time.Now().Add(DialStagger)
	r.running++
	r.dials++
	go func() {
		c, err := r.d.Host.Dial(r.ctx, r.id, t.addr, t.from)
		r.results <- raceResult{what: raceDialled, conn: c, errs: []error{err}}
	}()
}

// call calls the peer through the relays in more, and those that follow.
func (r *race) call() {
	r.running++
	r.calling, r.began = true, time.Now()
	r.late.Reset(unprovenDelay)
	go func() {
		c, err := r.d.Host.Call(r.ctx, r.id, r.more)
		r.results <- raceResult{what: raceCalled, conn: c, errs: []error{err}}
	}()
}

// take notes how an attempt ended, and returns its connection.
func (r *race) take(got raceResult) *quic.Conn {
	r.running--
	switch got.what {
	case raceResolved:
		r.enter(got.resolved)
	case raceDialled:
		if r.dials--; r.dials == 0 {
			r.due = time.Now()
		}
	case raceCalled:
		r.calling = false
		if got.conn == nil && len(r.more) > 0 && r.ctx.Err() == nil { // they became known at its end
			r.call()
		}
	}
	if got.conn == nil {
		r.causes = append(r.causes, got.errs...)
	}
	return got.conn
}
