package traversal

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
	// MaxRelays is how many relays a peer has, and how many of them one call tries at
	// first: each after callStagger, or as soon as the one before has failed. Relays that
	// become known during the call raise that to MaxDialRelays.
	MaxRelays     = 3
	MaxDialRelays = 2 * MaxRelays
	callStagger   = 300 * time.Millisecond
	// callTimeout bounds one call.
	callTimeout = 5 * time.Second
	// allowance is the credit, in bytes, for probes to the known addresses of a peer: the
	// size of one handshake packet, which a dial would send there.
	allowance = quic.InitialPacketSize + 28
	// maxKnownAddrs bounds the addresses from the address book that a call checks before
	// the callee has answered. It checks as many of the peer's last offer.
	maxKnownAddrs = 4
)

// Dial connects to a peer by calling it through the relays that it receives before and
// during the call. The connection begins through the relay and follows the direct path once
// there is one. A user has asked for the peer since that time: see Info.
func (m *Sessions) Dial(ctx context.Context, id wire.PeerID, since time.Time, relays <-chan wire.PeerID) (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d := &dial{sessions: m, id: id, began: time.Now(), since: since, socket: m.host.Socket(),
		signalled: make(chan struct{}, MaxDialRelays), answers: make(chan error, MaxDialRelays), dialled: make(chan dialResult, 1)}
	name, err := d.socket.Virtual(quic.PublicKey(id))
	if err != nil {
		return nil, err
	}
	// The calls outlive the dial: they find the direct path of its connection.
	calling, hangUp := context.WithTimeout(m.group.Context(), callTimeout)
	c, err := d.run(ctx, calling, cancel, name, relays)
	if !d.connected {
		hangUp()
	}
	go func() { // release the timer of the context
		d.calls.Wait()
		hangUp()
	}()
	return c, err
}

// A dial is one Dial.
type dial struct {
	sessions *Sessions
	id       wire.PeerID
	began    time.Time
	since    time.Time
	socket   *quic.Transport

	signalled chan struct{} // a call has been sent: packets can go through its relay
	answers   chan error    // the outcome of each call
	calls     sync.WaitGroup
	dialled   chan dialResult
	dialling  bool
	connected bool
	causes    []error
}

type dialResult struct {
	conn *quic.Conn
	err  error
}

// run returns the connection or why there is none. Cancel ends ctx.
func (d *dial) run(ctx, calling context.Context, cancel func(), name netip.AddrPort, more <-chan wire.PeerID) (*quic.Conn, error) {
	var relays []wire.PeerID
	for len(more) > 0 && len(relays) < MaxRelays {
		relays = append(relays, <-more)
	}
	var answered bool
	var started, failed int
	stagger := time.NewTimer(0)
	defer stagger.Stop()
	for {
		select {
		case <-stagger.C:
			if started < len(relays) && !answered {
				d.call(calling, relays[started])
				started++
				stagger.Reset(callStagger)
			}
		case relay := <-more:
			if len(relays) < MaxDialRelays {
				relays = slices.Insert(relays, started, relay)
				stagger.Reset(0)
			}
		case <-d.signalled:
			if d.dialling {
				continue
			}
			d.dialling = true
			go func() {
				c, err := d.socket.Dial(ctx, name, quic.PublicKey(d.id))
				d.dialled <- dialResult{c, err}
			}()
		case err := <-d.answers:
			if err == nil {
				answered = true
				continue
			}
			d.causes = append(d.causes, err)
			if failed++; failed == len(relays) {
				cancel()
				return d.giveUp(nil)
			}
			stagger.Reset(0)
		case r := <-d.dialled:
			if r.err != nil {
				return nil, errors.Join(append(d.causes, r.err)...)
			}
			d.connected = true
			relay, _ := d.sessions.relays.Route(d.id)
			d.sessions.host.CallEvent(CallEvent{Peer: d.id, Relay: relay, What: "connected", Took: time.Since(d.began)})
			d.sessions.setConnected(d.id, d.since, d.sessions.Path(d.id, r.conn.Path()))
			return r.conn, nil
		case <-ctx.Done():
			return d.giveUp(context.Cause(ctx))
		}
	}
}

// call calls the peer through one relay.
func (d *dial) call(ctx context.Context, relay wire.PeerID) {
	d.calls.Add(1)
	started := d.sessions.group.Go(func() {
		defer d.calls.Done()
		d.answers <- d.sessions.Call(ctx, d.id, relay, func() { d.signalled <- struct{}{} })
	})
	if !started {
		d.calls.Done()
		d.answers <- ErrClosed
	}
}

// giveUp waits for the handshake, whose context has ended: it may have succeeded.
func (d *dial) giveUp(cause error) (*quic.Conn, error) {
	if d.dialling {
		if r := <-d.dialled; r.conn != nil {
			return r.conn, nil
		}
	}
	return nil, errors.Join(append(d.causes, cause)...)
}

// Call calls a peer through one relay, for its session to find a path. It calls onSent when
// packets to the peer can go through the relay. If only the connection to the relay fails,
// it repeats the call once, with a new offer.
func (m *Sessions) Call(ctx context.Context, id, relay wire.PeerID, onSent func()) error {
	var err error
	for try := range 2 {
		var r Relay
		if r, err = m.relays.Connect(ctx, relay); err != nil {
			err = fmt.Errorf("relay %s: %w", relay, err)
			break
		}
		if try == 0 {
			switch m.mapping() {
			case wire.MappingSequential, wire.MappingUnknown:
				m.callFromPredictedPort(ctx, id, r)
			}
		}
		if err = m.callFrom(ctx, id, r, probeSocket{}, onSent); err == nil || ctx.Err() != nil || !m.relays.Recover(r, err) {
			break
		}
		onSent = func() {} // it was called already
	}
	if err != nil {
		m.reportFailed(id, relay, err)
	}
	return err
}

func (m *Sessions) reportFailed(id, relay wire.PeerID, err error) {
	m.host.CallEvent(CallEvent{Peer: id, Relay: relay, What: "failed", Err: err})
}

// callFrom makes one call, whose probes use a socket.
func (m *Sessions) callFrom(ctx context.Context, id wire.PeerID, r Relay, from probeSocket, onSent func()) error {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		from.close()
		return err
	}
	public := [32]byte(key.PublicKey().Bytes())
	at := r.Conn().RemoteAddr().Addr()
	now := time.Now()
	config := punch.Config{Caller: public, Rand: randomUint64}
	c := &checklist{relay: r.ID(), began: now, mapping: m.mapping()}
	if from.port != nil {
		c.ports, c.newSocket, c.mapping, config.Via = []*quic.Port{from.port}, true, from.mapping, 1
	}
	var known []netip.AddrPort
	if c.mapping != wire.MappingSequential { // probes would use up the ports that the offer predicts
		known = m.knownAddrs(id, at)
	}
	if len(known) > 0 {
		config.Allowance = allowance
	}
	if c.checks, err = punch.NewCaller(config, now, now.Add(rttOf(r)), known); err != nil {
		c.close()
		return err
	}
	if err := m.do(id, wire.PeerID{}, func(s *session, _ time.Time) { s.addChecklist(c) }); err != nil {
		c.close()
		return err
	}
	offer := m.newOffer(id, public, [32]byte{}, at, from.addrs)
	offer.Mapping = c.mapping
	m.relays.SetRoute(id, r)
	onSent()
	m.host.CallEvent(CallEvent{Peer: id, Relay: r.ID(), What: "call"})
	answer, err := m.relays.Call(ctx, r.ID(), id, offer.Sign(m.config.Key), wire.MaxPadding)
	if err == nil {
		err = m.handleAnswer(id, c, key, offer, answer, at)
	}
	if err != nil {
		m.doIfAny(id, func(s *session, _ time.Time) { s.dropChecklist(c) })
	}
	return err
}

// handleAnswer takes in the callee's answer to an offer.
func (m *Sessions) handleAnswer(id wire.PeerID, c *checklist, key *ecdh.PrivateKey, offer wire.CandidateOffer, called wire.Called, relay netip.Addr) error {
	answer, err := m.parseOffer(called.Offer, id, offer.Key)
	if err != nil {
		return err
	}
	keys, err := punch.NewKeys(key, answer.Key, true)
	if err != nil {
		return err
	}
	m.sendCredit(id, offer)
	m.doIfAny(id, func(s *session, now time.Time) {
		s.report(now, c, "answered", "")
		s.addCandidates(now, c, answer, called.Seen, relay)
		c.checks.AddCredit(len(called.Offer) + called.Padding)
		s.setKeys(now, c, keys)
	})
	return nil
}

// doIfAny is do for the session with a peer, if there is one.
func (m *Sessions) doIfAny(id wire.PeerID, f func(s *session, now time.Time)) {
	if s := m.lookup(id); s != nil {
		s.do(func(now time.Time) { f(s, now) })
	}
}

// sendCredit sends the credit for the peer's probes to our candidates that the padding of
// the call does not cover.
func (m *Sessions) sendCredit(id wire.PeerID, offer wire.CandidateOffer) {
	const covered = 3 // candidates
	for range min(len(offer.Addrs)-covered, 4) {
		m.relays.SendCredit(id, creditSize)
	}
}

// rttOf returns the round-trip time to a relay.
func rttOf(r Relay) time.Duration {
	if rtt := r.Conn().Stats().SmoothedRTT; rtt > 0 {
		return min(rtt, time.Second)
	}
	return 100 * time.Millisecond
}

// knownAddrs returns the addresses at which a call checks a peer before the callee has
// answered.
func (m *Sessions) knownAddrs(id wire.PeerID, relay netip.Addr) (known []netip.AddrPort) {
	for _, a := range m.host.DialAddrs(id) {
		if ap, ok := a.AddrPort(); ok && m.mayProbe(ap, relay) {
			known = append(known, ap)
		}
	}
	known = reach.Cover(known, maxKnownAddrs, netip.AddrPort.Addr)
	known = known[:min(len(known), maxKnownAddrs)]
	if s := m.lookup(id); s != nil {
		for _, ap := range s.lastRemoteAddrs() {
			if !slices.Contains(known, ap) && len(known) < 2*maxKnownAddrs {
				known = append(known, ap)
			}
		}
	}
	slices.SortStableFunc(known, compareScope)
	return known
}

// relaysFor returns the relays through which to call a peer. An unresponsive one comes
// last.
func (m *Sessions) relaysFor(id, unresponsive wire.PeerID) []wire.PeerID {
	relays := m.relays.RelaysOf(id)
	if using, ok := m.relays.Route(id); ok && !slices.Contains(relays, using) {
		relays = append(relays, using)
	}
	if i := slices.Index(relays, unresponsive); i >= 0 && len(relays) > 1 {
		relays = append(slices.Delete(slices.Clone(relays), i, i+1), unresponsive)
	}
	return relays
}
