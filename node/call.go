package node

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const (
	// maxCallRelays is how many relays of a peer are tried at once: each callStagger
	// after the one before, or when that has failed. A peer has no more than that.
	maxCallRelays = wantRelays
	callStagger   = 300 * time.Millisecond
	// callFor bounds the time for one call.
	callFor = 5 * time.Second
	// allowance is what we send unpaid to the addresses that a peer was known by: as
	// much as one handshake packet, which it would get if it were dialled there.
	allowance = quic.InitialPacketSize + 28
)

var errVirtualRelay = errors.New("a relay that has to be called itself is none")

// dialCalled connects to a peer by calling it through its relays: those in more, and
// those that come while the call lasts, which are tried at once. The connection is made
// through the relay at once, the path follows it when it is found.
func (n *Node) dialCalled(ctx context.Context, id wire.PeerID, more <-chan wire.PeerID) (*quic.Conn, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	calling, hangUp := context.WithTimeout(n.ctx, callFor) // the calls go on when there is a connection
	var connected bool
	defer func() {
		if !connected {
			hangUp()
		}
	}()
	t := n.callSocket()
	name, err := t.Virtual(publicKey(id))
	if err != nil {
		return nil, err
	}
	var relays []wire.PeerID
	for len(more) > 0 && len(relays) < maxCallRelays {
		relays = append(relays, <-more)
	}
	sent := make(chan struct{}, maxRaceRelays)
	results := make(chan error, maxRaceRelays)
	var calls sync.WaitGroup
	defer func() {
		go func() { // lest the timer stay
			calls.Wait()
			hangUp()
		}()
	}()
	call := func(relay wire.PeerID) {
		calls.Add(1)
		if !n.spawn(func() {
			defer calls.Done()
			results <- n.callThrough(calling, id, relay, func() { sent <- struct{}{} })
		}) {
			calls.Done()
			results <- ErrClosed
		}
	}
	type dialled struct {
		conn *quic.Conn
		err  error
	}
	dials := make(chan dialled, 1)
	var begun, answered bool
	var started, failed int
	var causes []error
	stagger := time.NewTimer(0)
	defer stagger.Stop()
	for {
		select {
		case <-stagger.C:
			if started < len(relays) && !answered {
				call(relays[started])
				started++
				stagger.Reset(callStagger)
			}
		case relay := <-more:
			if len(relays) < maxRaceRelays {
				relays = slices.Insert(relays, started, relay)
				stagger.Reset(0)
			}
		case <-sent:
			if begun {
				continue
			}
			begun = true
			go func() {
				c, err := t.Dial(ctx, name, publicKey(id))
				dials <- dialled{c, err}
			}()
		case err := <-results:
			if err == nil {
				answered = true
				continue
			}
			causes = append(causes, err)
			if failed++; failed == len(relays) {
				cancel()
				if begun {
					if d := <-dials; d.conn != nil {
						return d.conn, nil
					}
				}
				return nil, errors.Join(causes...)
			}
			stagger.Reset(0)
		case d := <-dials:
			if d.err != nil {
				return nil, errors.Join(append(causes, d.err)...)
			}
			relay, _ := n.relayOf(id)
			n.callEvent(CallEvent{Peer: id, Relay: relay, What: "connected", Took: time.Since(began)})
			n.agents.connected(id, n.seeks.since(id, began), n.pathOf(d.conn))
			connected = true
			return d.conn, nil
		case <-ctx.Done():
			if begun {
				if d := <-dials; d.conn != nil {
					return d.conn, nil
				}
			}
			return nil, errors.Join(append(causes, context.Cause(ctx))...)
		}
	}
}

// callThrough calls a peer through a relay, and has an agent make a path to it. It says
// when packets may go by the relay. If the connection to the relay fails for no fault of
// anybody's, the call is made anew, once.
func (n *Node) callThrough(ctx context.Context, id, relay wire.PeerID, sends func()) error {
	var err error
	for try := range 2 {
		var l *link
		if l, err = n.relayLink(ctx, relay); err != nil {
			err = fmt.Errorf("relay %s: %w", relay, err)
			break
		}
		if try == 0 {
			switch n.mapping() {
			case wire.MappingSequential, wire.MappingUnknown:
				n.foresee(ctx, id, l)
			}
		}
		if err = n.callBySocket(ctx, id, l, socket{}, sends); err == nil || ctx.Err() != nil || !innocent(err) {
			break
		}
		l.closeFor(err)
		sends = func() {} // it has said so
	}
	if err != nil {
		n.callEvent(CallEvent{Peer: id, Relay: relay, What: "failed", Err: err})
	}
	return err
}

// callBySocket makes one call.
func (n *Node) callBySocket(ctx context.Context, id wire.PeerID, l *link, from socket, sends func()) error {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		from.close()
		return err
	}
	public := [32]byte(key.PublicKey().Bytes())
	at := l.conn.RemoteAddr().Addr()
	now := time.Now()
	config := punch.Config{Caller: public, Rand: randomUint64}
	a := &attempt{relay: l.id, began: now, own: n.mapping()}
	if from.port != nil {
		a.ports, a.fresh, a.own, config.Via = []*quic.Port{from.port}, true, from.mapping, 1
	}
	var known []netip.AddrPort
	if a.own != wire.MappingSequential { // which would take the ports that are foreseen
		known = n.knownAt(id, at)
	}
	if len(known) > 0 {
		config.Allowance = allowance
	}
	if a.s, err = punch.NewCaller(config, now, now.Add(n.rttTo(l)), known); err != nil {
		a.close()
		return err
	}
	if err := n.tellAgent(id, wire.PeerID{}, func(g *agent, _ time.Time) { g.add(a) }); err != nil {
		a.close()
		return err
	}
	give := func(f func(g *agent, now time.Time)) {
		if g := n.agents.agentWith(id); g != nil {
			g.tell(func(now time.Time) { f(g, now) })
		}
	}
	intro := n.introduce(id, public, [32]byte{}, at, from.at)
	intro.Mapping = a.own
	n.useRelay(id, l)
	sends()
	n.callEvent(CallEvent{Peer: id, Relay: l.id, What: "call"})
	called, _, err := n.callBy(ctx, l.id, id, intro.Sign(n.config.Key), wire.MaxPadding)
	if err == nil {
		var answer wire.CandidateOffer
		var keys punch.Keys
		if answer, err = n.checkIntroduction(called.Offer, id, public); err == nil {
			if keys, err = punch.NewKeys(key, answer.Key, true); err == nil {
				n.payFor(id, intro)
				give(func(g *agent, now time.Time) {
					g.event(now, a, "answered", "", nil)
					g.named(now, a, answer, called.Seen, at)
					a.s.AddCredit(len(called.Offer) + called.Padding)
					g.answered(now, a, keys)
				})
				return nil
			}
		}
	}
	give(func(g *agent, _ time.Time) { g.drop(a) })
	return err
}

// payFor sends what the peer's probes to our addresses cost, beyond what the padding
// of the call has paid.
func (n *Node) payFor(id wire.PeerID, intro wire.CandidateOffer) {
	const paid = 3 // addresses
	for range min(len(intro.Addrs)-paid, 4) {
		n.sendFuel(id, fuelSize)
	}
}

// relayLink returns the link to a relay, dialled at its addresses: one that would have
// to be called itself is none.
func (n *Node) relayLink(ctx context.Context, relay wire.PeerID) (*link, error) {
	n.agents.asRelay(relay, 1)
	defer n.agents.asRelay(relay, -1)
	l, err := n.reach(ctx, relay)
	if err == nil && l.conn.Virtual() {
		err = errVirtualRelay
	}
	return l, err
}

func (n *Node) rttTo(l *link) time.Duration {
	if rtt := l.conn.Stats().SmoothedRTT; rtt > 0 {
		return min(rtt, time.Second)
	}
	return 100 * time.Millisecond
}

// knownAt is where a peer was known to be before it has answered.
func (n *Node) knownAt(id wire.PeerID, relay netip.Addr) (known []netip.AddrPort) {
	for _, a := range n.dialAddrs(id) {
		if ap, ok := a.AddrPort(); ok && n.mayProbe(ap, relay) {
			known = append(known, ap)
		}
	}
	known = reach.Cover(known, maxDialAddrs, netip.AddrPort.Addr)
	known = known[:min(len(known), maxDialAddrs)]
	if g := n.agents.agentWith(id); g != nil {
		for _, ap := range g.toldAt() {
			if !slices.Contains(known, ap) && len(known) < 2*maxDialAddrs {
				known = append(known, ap)
			}
		}
	}
	slices.SortStableFunc(known, farFirst)
	return known
}

// callRelays are the relays by which a peer may be called: not the bad one, if there is
// another.
func (n *Node) callRelays(id, bad wire.PeerID) []wire.PeerID {
	relays := n.relaysOf(id)
	if using, ok := n.relayOf(id); ok && !slices.Contains(relays, using) {
		relays = append(relays, using)
	}
	if i := slices.Index(relays, bad); i >= 0 && len(relays) > 1 {
		relays = append(slices.Delete(slices.Clone(relays), i, i+1), bad)
	}
	return relays
}
