package join

import (
	"context"
	"crypto/ed25519"
	"crypto/sha3"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

var errUnreachable, errClosed = errors.New("unreachable"), errors.New("closed")

func idOf(i int) wire.PeerID {
	seed := sha3.Sum256(fmt.Append(nil, "join ", i))
	return wire.PeerID(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

// A host is a fake node, number 0, with its table. The real lookups of package lookup ask its
// peers, each of which knows all peers.
type host struct {
	refs   peerref.Refs
	peers  map[wire.PeerID]time.Duration // how long each takes to answer a dial; others never do
	client bool
	ctx    context.Context

	mu        sync.Mutex
	connected map[wire.PeerID]bool
	absent    []wire.PeerID // named by each peer, though it does not exist
	stale     []routing.Key
	looked    []routing.Key
	dialling  int
	most      int // dials at the same time
	events    []string
}

func (h *host) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

func (h *host) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.events = nil }()
	return h.events
}

func (h *host) dial(ctx context.Context, id wire.PeerID) error {
	h.mu.Lock()
	if h.connected[id] {
		h.mu.Unlock()
		return nil
	}
	h.dialling++
	h.most = max(h.most, h.dialling)
	takes, ok := h.peers[id]
	h.mu.Unlock()
	if !ok {
		takes = 5 * time.Second
	}
	err := background.Sleep(ctx, takes)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dialling--
	if err != nil || !ok {
		return errUnreachable
	}
	h.connected[id] = true
	return nil
}

// Host
func (h *host) IsServer() bool                               { return !h.client }
func (h *host) Meet(ctx context.Context, t Target) error     { return h.dial(ctx, t.ID) }
func (h *host) AddUserAddr(id wire.PeerID, addr wire.Addr)   { h.note("%s", string(addr)) }
func (h *host) DialTimeout(wire.PeerID) time.Duration        { return 200 * time.Millisecond }
func (h *host) AddNearbyAddrs(wire.PeerID, []netip.AddrPort) {}
func (h *host) ListenAddrs() []netip.AddrPort                { return make([]netip.AddrPort, 1) }
func (h *host) Met(context.Context)                          { h.note("met") }
func (h *host) Joined(met bool)                              { h.note("joined %v", met) }
func (h *host) Remember() error                              { h.note("remember"); return nil }
func (h *host) Connect(ctx context.Context, id wire.PeerID) (Peer, error) {
	return peer{id}, h.dial(ctx, id)
}

func (h *host) IsConnected(id wire.PeerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connected[id]
}

func (h *host) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.connected)
}

// Table
func (h *host) HasLive() bool                        { return h.Connections() > 0 }
func (h *host) IsLive(key routing.Key) bool          { return false }
func (h *host) Stale(time.Time) ([]routing.Key, int) { return h.stale, 0 }

// lookupHost is the host as package lookup needs it.
type lookupHost struct{ *host }

func (h lookupHost) Running() error                                               { return nil }
func (h lookupHost) Bootstrap(context.Context) error                              { return nil }
func (h lookupHost) Timeout(lookup.Query) time.Duration                           { return time.Second }
func (h lookupHost) Patience(lookup.Query) time.Duration                          { return time.Second }
func (h lookupHost) Refused(_ wire.PeerID, c wire.Code) error                     { return c }
func (h lookupHost) AddReferral(netip.Addr, wire.Contact, time.Time)              {}
func (h lookupHost) Observe(context.Context, string, routing.Key) lookup.Observer { return nil }
func (h lookupHost) Looked(target routing.Key, _ time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = append(h.looked, target)
}

func (h lookupHost) Nearest(dst []lookup.Contact, target routing.Key, count int) []lookup.Contact {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.connected {
		dst = append(dst, h.refs.Of(id).Contact())
	}
	slices.SortFunc(dst, func(a, b lookup.Contact) int { return target.CompareDistance(a.Key, b.Key) })
	return dst[:min(count, len(dst))]
}

func (h lookupHost) Request(ctx context.Context, id wire.PeerID, m wire.Message) (lookup.Peer, wire.Message, error) {
	if err := h.dial(ctx, id); err != nil {
		return nil, nil, err
	}
	key := m.(wire.FindNode).Key
	var ids []wire.PeerID
	for id := range h.peers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b wire.PeerID) int { return key.CompareDistance(a.Key(), b.Key()) })
	var nodes wire.Nodes
	for _, id := range ids[:min(len(ids), 3)] {
		nodes.Contacts = append(nodes.Contacts, wire.Contact{ID: id})
	}
	for _, id := range h.absent {
		nodes.Contacts = append(nodes.Contacts, wire.Contact{ID: id})
	}
	return peer{id}, nodes, nil
}

type peer struct{ id wire.PeerID }

func (p peer) ID() wire.PeerID            { return p.id }
func (p peer) RemoteAddr() netip.AddrPort { return netip.AddrPort{} }
func (p peer) IsServer() bool             { return true }

// causes is the error of a join for which no peer answered.
type causes []error

func (c causes) Error() string { return fmt.Sprint([]error(c)) }

// inBubble runs a test in virtual time with a node whose network are peers 1 to n, each of
// which answers a dial after 20 ms. k is 3.
func inBubble(t *testing.T, n int, test func(*testing.T, *host, *Joiner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &host{peers: make(map[wire.PeerID]time.Duration), connected: make(map[wire.PeerID]bool)}
		for i := 1; i <= n; i++ {
			h.peers[idOf(i)] = 20 * time.Millisecond
		}
		group := background.NewGroup()
		h.ctx = group.Context()
		j := New(Config{Self: idOf(0), K: 3, Table: h, Host: h, Background: group, Logger: slog.New(slog.DiscardHandler),
			RPCTimeout: 5 * time.Second, Closed: errClosed, Unreachable: errUnreachable,
			Failed: func(all []error) error { return causes(all) }})
		j.Lookups = lookup.New(lookup.Config{Self: idOf(0), K: 3, Alpha: 3, Refs: &h.refs, Table: lookupHost{h}, Host: lookupHost{h}, Closing: group.Context(), Unreachable: errUnreachable})
		test(t, h, j)
		group.Stop()
		group.Wait()
	})
}

func targetsOf(ids ...int) (ts []Target) {
	for _, i := range ids {
		ts = append(ts, Target{ID: idOf(i), Addr: wire.Addr(fmt.Sprint("address ", i))})
	}
	return ts
}

// A join meets a bootstrap peer, lets the node probe its addresses, looks up the node's own key
// and one in every farther range, connects to peers that were named, and saves them.
func TestJoinFindsThePosition(t *testing.T) {
	inBubble(t, 40, func(t *testing.T, h *host, j *Joiner) {
		j.AddTargets(targetsOf(1))
		if !j.IsIsolated() || j.CutOff() == nil || !errors.Is(j.CutOff(), errUnreachable) {
			t.Errorf("before: isolated %v, cut off: %v", j.IsIsolated(), j.CutOff())
		}
		if err := j.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := h.take(); !slices.Equal(got, []string{"address 1", "met", "remember", "joined true"}) {
			t.Errorf("events: %q", got)
		}
		if len(h.looked) < 3 || h.looked[0] != j.Self.Key() {
			t.Errorf("%d keys were looked up; the first is our own: %v", len(h.looked), h.looked[0] == j.Self.Key())
		}
		for _, key := range h.looked[1:] {
			if key == j.Self.Key() {
				t.Error("our own key was looked up twice")
			}
		}
		if n := h.Connections(); n < 9 {
			t.Errorf("%d connections after a join", n)
		}
		if j.CutOff() != nil || j.IsIsolated() {
			t.Errorf("after: %v", j.CutOff())
		}
	})
}

// A client meets a bootstrap peer and looks for no position.
func TestClientHasNoPosition(t *testing.T) {
	inBubble(t, 5, func(t *testing.T, h *host, j *Joiner) {
		h.client = true
		j.AddTargets(targetsOf(1))
		if err := j.Join(t.Context()); err != nil || len(h.looked) > 0 {
			t.Errorf("%v; %d lookups", err, len(h.looked))
		}
	})
}

// One bootstrap peer that answers is enough; the others have one more second. If none answers,
// the error has the cause of each.
func TestOneBootstrapPeerIsEnough(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, h *host, j *Joiner) {
		h.peers[idOf(2)] = 800 * time.Millisecond
		j.AddTargets(targetsOf(0, 77, 1, 2, 1)) // itself, an absent one, and one twice
		start := time.Now()
		if err := j.Meet(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 1100*time.Millisecond || !h.IsConnected(idOf(2)) {
			t.Errorf("met after %v; the slow one too: %v", took, h.IsConnected(idOf(2)))
		}
	})
	inBubble(t, 0, func(t *testing.T, h *host, j *Joiner) {
		j.AddTargets(targetsOf(77, 78))
		err := j.Join(t.Context())
		if all, ok := errors.AsType[causes](err); !ok || len(all) != 2 {
			t.Errorf("the error: %v", err)
		}
		if got := j.CutOff(); got == nil || got.Error() != err.Error() {
			t.Errorf("cut off: %v", got)
		}
	})
	inBubble(t, 0, func(t *testing.T, h *host, j *Joiner) {
		j.AddTargets(targetsOf(0)) // only itself: the first node of its network
		if err := j.Join(t.Context()); err == nil || j.CutOff() != nil {
			t.Logf("join: %v, cut off: %v", err, j.CutOff())
		}
		if j.CutOff() != nil {
			t.Errorf("the first node is cut off: %v", j.CutOff())
		}
	})
}

// Await waits for the attempt under way, for 2 seconds at most, and only if the node is cut
// off.
func TestAwaitWaitsForTheAttempt(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, h *host, j *Joiner) {
		await := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			if j.Await(t.Context()); time.Since(start) != want {
				t.Errorf("waited %v, want %v", time.Since(start), want)
			}
		}
		await(0)
		j.AddTargets(targetsOf(77))
		await(0) // no attempt is under way
		go j.Join(t.Context())
		synctest.Wait()
		await(awaitTimeout)
		time.Sleep(10 * time.Second)
		h.peers[idOf(1)] = 500 * time.Millisecond
		j.AddTargets(targetsOf(1))
		go j.Join(t.Context())
		synctest.Wait()
		start := time.Now()
		j.Await(t.Context())
		if waited := time.Since(start); waited < 500*time.Millisecond || waited > 1600*time.Millisecond {
			t.Errorf("waited %v for a join that takes half a second", waited)
		}
		time.Sleep(10 * time.Second)
		go j.Join(t.Context())
		await(0) // it is not cut off any more
	})
}

// Rejoin tries again while the node has no live contact, less and less often, up to once a
// minute.
func TestRejoinBacksOff(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, h *host, j *Joiner) {
		j.Background.Go(func() { j.Rejoin(j.Background.Context()) })
		time.Sleep(time.Minute)
		if got := h.take(); len(got) > 0 {
			t.Errorf("without bootstrap peers: %q", got)
		}
		j.AddTargets([]Target{{ID: idOf(77)}})
		tries := func(during time.Duration) int {
			h.take()
			time.Sleep(during)
			return len(h.take())
		}
		if n := tries(time.Minute); n < 4 || n > 6 {
			t.Errorf("%d attempts in the first minute", n)
		}
		time.Sleep(10 * time.Minute)
		if n := tries(10 * time.Minute); n < 7 || n > 10 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		j.AddTargets([]Target{{ID: idOf(1)}})
		time.Sleep(2 * time.Minute)
		if j.IsIsolated() {
			t.Error("the node has not joined")
		}
		if n := tries(10 * time.Minute); n != 0 {
			t.Errorf("%d attempts of a node that has joined", n)
		}
	})
}

// Absent peers that others name do not delay a join: those that the lookups did not need are
// met in the time of one request, eight at a time, or not at all.
func TestAbsentPeersDoNotDelayAJoin(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, h *host, j *Joiner) {
		j.AddTargets(targetsOf(1))
		if err := j.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 400 {
			h.absent = append(h.absent, idOf(1000+i))
		}
		out, err := j.Lookups.Nodes(t.Context(), "test", j.Self.Key())
		if err != nil {
			t.Fatal(err)
		}
		h.most = 0
		start := time.Now()
		j.fill(t.Context(), []*lookup.Outcome{out})
		if took := time.Since(start); took > j.RPCTimeout+time.Second || h.most > fillAtOnce {
			t.Errorf("took %v, with %d dials at a time", took, h.most)
		}
	})
}

// Buckets without a lookup for the interval are refreshed, if there is an interval.
func TestRefreshLooksUpStaleRanges(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, h *host, j *Joiner) {
		j.AddTargets(targetsOf(1))
		if err := j.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.stale, h.looked = []routing.Key{{1}, {2}}, nil
		if j.RefreshStale(t.Context()); len(h.looked) > 0 {
			t.Errorf("%d lookups without an interval", len(h.looked))
		}
		j.RefreshInterval = time.Hour
		if j.RefreshStale(t.Context()); !slices.Equal(h.looked, h.stale) {
			t.Errorf("looked up %v", h.looked)
		}
	})
}

// A discovery reports peers as a test says.
type discovery func(ctx context.Context, found func(int))

func (d discovery) Discover(ctx context.Context, _ wire.PeerID, _ func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error {
	d(ctx, func(i int) { found(idOf(i), make([]netip.AddrPort, 1)) })
	return ctx.Err()
}

// Discovered peers are met, eight at a time, and an isolated node joins through them. False
// reports do not hide a real peer.
func TestDiscoveredPeersAreMet(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, h *host, j *Joiner) {
		j.Discovery = discovery(func(ctx context.Context, found func(int)) {
			found(0)
			for i := 0; ctx.Err() == nil; i++ {
				if i == 0 {
					for lie := range 30 {
						found(1000 + lie)
					}
				}
				found(2000 + i)
				found(1 + i%3)
				background.Sleep(ctx, 700*time.Millisecond)
			}
		})
		j.Background.Go(func() { j.Discover(j.Background.Context()) })
		time.Sleep(2 * time.Minute)
		if n := h.Connections(); n != 3 || h.most > maxMeetings+3 {
			t.Errorf("%d peers are connected; %d dials at a time", n, h.most)
		}
		if len(h.looked) == 0 {
			t.Error("the node has not joined through them")
		}
	})
}

// A client is not found.
func TestClientIsNotDiscoverable(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, h *host, j *Joiner) {
		if len(j.listenAddrs()) == 0 {
			t.Error("a server has no addresses to tell")
		}
		h.client = true
		if at := j.listenAddrs(); at != nil {
			t.Errorf("a client lets others find it at %v", at)
		}
	})
}
