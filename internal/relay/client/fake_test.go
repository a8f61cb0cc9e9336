package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errNoAnswer    = errors.New("no answer")
	errStalled     = errors.New("stalled")
	errUnreachable = errors.New("unreachable")
	errClosed      = errors.New("closed")
)

const roundTrip = 20 * time.Millisecond

// A fakeLink is a connection to a peer that answers as serve says. Nil from serve is silence.
type fakeLink struct {
	host    *fakeHost
	ref     *peerref.Ref
	addr    netip.AddrPort
	began   time.Time
	virtual bool
	max     int
	done    chan struct{}
	end     sync.Once

	mu       sync.Mutex
	serve    func(wire.Message) wire.Message
	stalled  bool
	got      []wire.Message   // requests
	sent     []wire.Message   // answers to the peer
	packets  []relay.Datagram // sent to the relay
	received uint64
	holds    int
	reading  bool
}

func (l *fakeLink) ID() wire.PeerID            { return l.ref.ID }
func (l *fakeLink) Ref() *peerref.Ref          { return l.ref }
func (l *fakeLink) RemoteAddr() netip.AddrPort { return l.addr }
func (l *fakeLink) IsVirtual() bool            { return l.virtual }
func (l *fakeLink) Began() time.Time           { return l.began }
func (l *fakeLink) IsUp() bool                 { return true }
func (l *fakeLink) Done() <-chan struct{}      { return l.done }
func (l *fakeLink) Close()                     { l.end.Do(func() { close(l.done) }) }
func (l *fakeLink) Touch()                     {}
func (l *fakeLink) RTT() time.Duration         { return roundTrip }
func (l *fakeLink) MaxDatagram() int           { return l.max }

func (l *fakeLink) Hold() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.holds--
	}
}

func (l *fakeLink) PacketsReceived() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received
}

func (l *fakeLink) SendDatagram(b []byte) bool {
	d, _ := relay.Parse(bytes.Clone(b))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packets = append(l.packets, d)
	return true
}

func (l *fakeLink) Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error) {
	l.mu.Lock()
	l.got = append(l.got, m)
	serve, stalled := l.serve, l.stalled
	l.mu.Unlock()
	if err := background.Sleep(ctx, roundTrip); err != nil {
		return nil, 0, err
	}
	if stalled {
		return nil, 0, errStalled
	}
	if answer := serve(m); answer != nil {
		l.mu.Lock()
		l.received++
		l.mu.Unlock()
		return answer, roundTrip, nil
	}
	select {
	case <-time.After(l.host.client.RPCTimeout):
		return nil, 0, errNoAnswer
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	case <-l.done:
		return nil, 0, errors.New("connection closed")
	}
}

func (l *fakeLink) Reply(id uint64, m wire.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, m)
	return nil
}

func (l *fakeLink) Refuse(id uint64, code wire.Code, why string) error {
	return l.Reply(id, wire.Error{Code: code, Message: why})
}

// answers returns what the peer was answered.
func (l *fakeLink) answers() []wire.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// count returns how many requests equal to m the peer got.
func (l *fakeLink) count(m wire.Message) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, got := range l.got {
		if fmt.Sprint(got) == fmt.Sprint(m) && fmt.Sprintf("%T", got) == fmt.Sprintf("%T", m) {
			n++
		}
	}
	return n
}

func (l *fakeLink) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holds > 0
}

// silence lets the peer answer nothing from now on.
func (l *fakeLink) silence() { l.serveWith(func(wire.Message) wire.Message { return nil }) }

func (l *fakeLink) serveWith(serve func(wire.Message) wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serve = serve
}

// grants answers RESERVE and PING as a relay that has room.
func grants(m wire.Message) wire.Message {
	switch m := m.(type) {
	case wire.Reserve:
		if m.Release {
			return wire.Reserved{}
		}
		return wire.Reserved{Lifetime: time.Hour, Rate: 1 << 20}
	case wire.Ping:
		return wire.Pong{}
	}
	return wire.Error{Code: wire.CodeUnimplemented}
}

func refuses(wire.Message) wire.Message { return wire.Error{Code: wire.CodeBusy} }

// A fakeHost is a node with links to peers.
type fakeHost struct {
	client *Client

	mu        sync.Mutex
	wants     bool
	near      []*peerref.Ref
	links     map[wire.PeerID]*fakeLink // in use
	redial    func(id wire.PeerID) *fakeLink
	live      map[wire.PeerID]bool // relayed connections
	named     []wire.PeerID
	delivered []string
	credit    int
	pings     []wire.PeerID
	changes   int
	allow     bool
	answer    func() (wire.Message, wire.Code)
}

func (h *fakeHost) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *fakeHost) WantsRelays() (is bool) { h.locked(func() { is = h.wants }); return is }
func (h *fakeHost) IsIsolated() bool       { return false }

func (h *fakeHost) Nearest(context.Context) (all []*peerref.Ref, err error) {
	h.locked(func() { all = slices.Clone(h.near) })
	return all, nil
}

func (h *fakeHost) Connect(_ context.Context, id wire.PeerID) (Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.links[id]; l != nil {
		select {
		case <-l.done:
		default:
			l.ref.SetAddrs([]wire.Addr{wire.AddrFrom(l.addr)})
			return l, nil
		}
	}
	return nil, errUnreachable
}

// Reach is like Connect. A link that was retired is dialled again.
func (h *fakeHost) Reach(ctx context.Context, id wire.PeerID) (Link, error) {
	h.mu.Lock()
	redial, l := h.redial, h.links[id]
	h.mu.Unlock()
	if redial != nil && (l == nil || l.stalled) {
		l = redial(id)
		h.client.MigrateReservation(l)
		return l, nil
	}
	return h.Connect(ctx, id)
}

func (h *fakeHost) IsConnected(id wire.PeerID) (is bool) {
	h.locked(func() { is = h.links[id] != nil })
	return is
}

func (h *fakeHost) IsRelayed(id wire.PeerID) (is bool) {
	h.locked(func() { is = h.live[id] })
	return is
}

func (h *fakeHost) IsInUse(l Link) (is bool) {
	h.locked(func() { is = h.links[l.ID()] == l })
	return is
}

func (h *fakeHost) Retire(l Link) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links[l.ID()] != l {
		return false
	}
	delete(h.links, l.ID())
	return true
}

func (h *fakeHost) ReadDatagrams(l Link) {
	f := l.(*fakeLink)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = true
}

func (h *fakeHost) Deliver(_ wire.PeerID, packet []byte) {
	h.locked(func() { h.delivered = append(h.delivered, string(packet)) })
}

func (h *fakeHost) AddCredit(_ wire.PeerID, size int)                { h.locked(func() { h.credit += size }) }
func (h *fakeHost) Answered(Link, wire.Message, time.Duration)       {}
func (h *fakeHost) Ping(id wire.PeerID)                              { h.locked(func() { h.pings = append(h.pings, id) }) }
func (h *fakeHost) RelaysInRecord(wire.PeerID) []wire.PeerID         { return h.named }
func (h *fakeHost) ReservationsChanged()                             { h.locked(func() { h.changes++ }) }
func (h *fakeHost) AllowCall(Link, time.Time) bool                   { return h.allow }
func (h *fakeHost) Answer(Link, wire.Call) (wire.Message, wire.Code) { return h.answer() }

// testClient runs f in virtual time with a client that knows no peer.
func testClient(t *testing.T, f func(t *testing.T, c *Client, h *fakeHost)) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{wants: true, allow: true, links: make(map[wire.PeerID]*fakeLink), live: make(map[wire.PeerID]bool)}
		group := background.NewGroup()
		h.client = New(Config{
			Self: wire.PeerID{0xff}, Host: h, Background: group, Logger: slog.New(slog.DiscardHandler), RPCTimeout: 5 * time.Second,
			NoAnswer: errNoAnswer, Stalled: errStalled, Unreachable: errUnreachable, Closed: errClosed,
			Unexpected: func(_ wire.PeerID, m wire.Message) error {
				if e, ok := m.(wire.Error); ok {
					return e.Code
				}
				return fmt.Errorf("unexpected %T", m)
			},
		})
		f(t, h.client, h)
		group.Stop()
		group.Wait()
	})
}

func peerID(i int) wire.PeerID { return wire.PeerID{1, byte(i), byte(i >> 8)} }

// link makes a link to peer i, at an address of the given network, and uses it.
func (h *fakeHost) link(i, network int, serve func(wire.Message) wire.Message) *fakeLink {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, 1, byte(network), byte(i)}), 4774)
	l := &fakeLink{host: h, ref: &peerref.Ref{ID: peerID(i)}, addr: addr, began: time.Now(), max: 1200, done: make(chan struct{}), serve: serve}
	l.ref.SetAddrs([]wire.Addr{wire.AddrFrom(addr)})
	h.locked(func() { h.links[l.ID()] = l })
	return l
}

// servers makes one link for each network; the first is the nearest.
func (h *fakeHost) servers(networks ...int) (all []*fakeLink) {
	for i, network := range networks {
		l := h.link(i, network, grants)
		all = append(all, l)
		h.near = append(h.near, l.ref)
	}
	return all
}

// wantRelays checks which peers hold reservations.
func wantRelays(t *testing.T, c *Client, want ...*fakeLink) {
	t.Helper()
	var ids []wire.PeerID
	for _, l := range want {
		ids = append(ids, l.ID())
	}
	if got := c.Relays(); !slices.Equal(got, ids) {
		t.Errorf("reservations at %v, want %v", got, ids)
	}
}

// pass lets d go by, and all goroutines do what is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
