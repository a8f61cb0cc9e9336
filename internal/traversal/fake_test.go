package traversal

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A world is Sessions with a fake host and a fake relay client, in a simulated network and
// in virtual time.
type world struct {
	*Sessions
	t      *testing.T
	net    *simnet.Network
	socket *quic.Transport
	relay  *fakeRelay
	client *fakeClient
	ahead  time.Duration // of the network's clocks
	calls  chan CallEvent
}

func inWorld(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(simnet.Options{Delay: 10 * time.Millisecond}), calls: make(chan CallEvent, 1000)}
		defer w.net.Close()
		key := testKey(1)
		w.socket = w.transport(1)
		defer w.socket.Close()
		group := background.NewGroup()
		defer func() { group.Stop(); group.Wait() }()
		pool := quic.NewPool(quic.PoolConfig{Self: w.socket.PublicKey()})
		defer pool.Close()
		w.client = &fakeClient{}
		w.Sessions = New(Config{
			Key: key, Host: w, Relays: w.client, Background: group, Pool: pool,
			Self: reach.New(reach.Config{}), Peers: peerstore.New(peerstore.Options{}), Logger: slog.New(slog.DiscardHandler),
		})
		other := w.transport(2)
		defer other.Close()
		c, err := w.socket.Dial(t.Context(), other.LocalAddr(), other.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		w.relay = &fakeRelay{c}
		w.client.relay = w.relay
		test(t, w)
	})
}

// testKey returns the i-th identity, the same in each run.
func testKey(i int) ed25519.PrivateKey {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(key ed25519.PrivateKey) wire.PeerID {
	return wire.PeerID(key.Public().(ed25519.PublicKey))
}

// transport opens the socket of the i-th identity.
func (w *world) transport(i int) *quic.Transport {
	w.t.Helper()
	conn := w.net.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, 0, byte(i), 1}), 4774))
	tr, err := quic.NewTransport(quic.Config{
		Key: testKey(i), ALPN: "test", Conn: conn,
		Relay: func(quic.PublicKey, []byte) {}, // loses all packets
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return tr
}

func (w *world) Socket() *quic.Transport           { return w.socket }
func (w *world) OnMachine() bool                   { return false }
func (w *world) NetworkTime() time.Time            { return time.Now().Add(w.ahead) }
func (w *world) DialAddrs(wire.PeerID) []wire.Addr { return nil }
func (w *world) FindObservers(context.Context)     {}
func (w *world) CallEvent(e CallEvent)             { w.calls <- e }
func (w *world) PathEvent(PathEvent)               {}

// A fakeRelay is a connection to a peer that has no idea of relaying.
type fakeRelay struct{ conn *quic.Conn }

func (r *fakeRelay) ID() wire.PeerID  { return wire.PeerID(r.conn.RemoteKey()) }
func (r *fakeRelay) Conn() *quic.Conn { return r.conn }
func (r *fakeRelay) IsUp() bool       { return true }

var errFake = errors.New("the fake relay fails")

// A fakeClient fails all calls, except those that answer answers.
type fakeClient struct {
	relay  *fakeRelay
	answer func(offer []byte) (wire.Called, error)
	retry  func(error) bool

	mu     sync.Mutex
	offers [][]byte
	routes map[wire.PeerID]wire.PeerID
}

func (c *fakeClient) Connect(context.Context, wire.PeerID) (Relay, error) { return c.relay, nil }

func (c *fakeClient) Call(_ context.Context, _, _ wire.PeerID, offer []byte, _ int) (wire.Called, error) {
	c.mu.Lock()
	c.offers = append(c.offers, offer)
	c.mu.Unlock()
	if c.answer != nil {
		return c.answer(offer)
	}
	return wire.Called{}, errFake
}

func (c *fakeClient) Recover(_ Relay, err error) bool       { return c.retry != nil && c.retry(err) }
func (c *fakeClient) RelaysOf(wire.PeerID) []wire.PeerID    { return nil }
func (c *fakeClient) ConfirmRoute(wire.PeerID, Relay)       {}
func (c *fakeClient) SendCredit(peer wire.PeerID, size int) {}
func (c *fakeClient) CheckRelays(wire.PeerID)               {}
func (c *fakeClient) CheckRelay(Relay) error                { return nil }
func (c *fakeClient) Route(p wire.PeerID) (wire.PeerID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.routes[p]
	return id, ok
}
func (c *fakeClient) SetRoute(p wire.PeerID, r Relay) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.routes == nil {
		c.routes = make(map[wire.PeerID]wire.PeerID)
	}
	c.routes[p] = r.ID()
}
