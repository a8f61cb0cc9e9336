package replica

import (
	"context"
	"crypto/ed25519"
	"crypto/sha3"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func testKey(i int) ed25519.PrivateKey {
	seed := sha3.Sum256(fmt.Append(nil, "replica ", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(i int) wire.PeerID { return wire.PeerID(testKey(i).Public().(ed25519.PublicKey)) }

// contents makes content records, each with a value of that many bytes or a few more.
func contents(t testing.TB, count, size int) []*wire.Signed {
	t.Helper()
	records := make([]*wire.Signed, count)
	for i := range records {
		records[i] = signed(t, wire.Record{Kind: wire.KindContent, Value: fmt.Appendf(make([]byte, size), "value %d", i)})
	}
	return records
}

// signed signs a record of 20 hours.
func signed(t testing.TB, r wire.Record) *wire.Signed {
	t.Helper()
	r.Seq, r.Expiry = 1, time.Now().Add(20*time.Hour)
	s, err := wire.Sign(r, testKey(0))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An answer makes the reply of a peer to a request; nil: the peer stays silent.
type answer func(m wire.Message) wire.Message

// A host is a fake node, number 0, with its routing table and its store. It connects to
// peers by their answers; others cannot be reached. A request takes 20 ms.
type host struct {
	refs   peerref.Refs
	store  store.Store
	k      int
	client bool

	mu      sync.Mutex // guards the rest
	answers map[wire.PeerID]answer
	table   *table
	asked   map[string]int
	pinged  []wire.PeerID
}

var errUnreachable = errors.New("unreachable")

func (h *host) Store() store.Store { return h.store }
func (h *host) IsServer() bool     { return !h.client }
func (h *host) IsIsolated() bool   { return h.Len() == 0 }

// requests returns how many requests of each type were sent.
func (h *host) requests() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.asked)
}

// count returns how many requests of one type were sent.
func (h *host) count(name string) int { return h.requests()[name] }

// answerOf returns how a peer answers, nil if it cannot be reached.
func (h *host) answerOf(id wire.PeerID) answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answers[id]
}

func (h *host) Connect(_ context.Context, id wire.PeerID) (limited bool, err error) {
	if h.answerOf(id) == nil {
		return false, errUnreachable
	}
	return true, nil
}

func (h *host) Request(ctx context.Context, id wire.PeerID, m wire.Message) (wire.Message, error) {
	h.mu.Lock()
	h.asked[fmt.Sprintf("%T", m)]++
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := background.Sleep(ctx, 20*time.Millisecond); err != nil {
		return nil, err
	}
	reply := h.answerOf(id)(m)
	if reply == nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if e, ok := reply.(wire.Error); ok {
		return nil, e.Code
	}
	return reply, ctx.Err()
}

func (h *host) LookUp(_ context.Context, _ string, target routing.Key, _ ...contact) ([]contact, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []contact{h.refs.Of(idOf(0)).Contact()}
	for id, a := range h.answers {
		if a != nil {
			all = append(all, h.refs.Of(id).Contact())
		}
	}
	slices.SortFunc(all, func(a, b contact) int { return target.CompareDistance(a.Key, b.Key) })
	return all[:min(len(all), h.k)], nil
}

func (h *host) Ping(_ context.Context, id wire.PeerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pinged = append(h.pinged, id)
	if h.answers[id] == nil {
		h.table.Remove(id.Key())
	} else {
		h.table.Seen(h.refs.Of(id).Contact(), time.Now())
	}
}

func (h *host) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.Len()
}

func (h *host) Closer(key routing.Key) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.Closer(key)
}

func (h *host) IsNeighbour(key routing.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.Contains(key) && idOf(0).Key().CommonPrefixLen(key) >= h.table.Complete()
}

func (h *host) Stale(time.Time) ([]routing.Key, int) { return nil, 0 }

func (h *host) Silent(before time.Time) []contact {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(h.table.Silent(before))
}

func (h *host) Each(n int, f func(t *table, i int)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		f(h.table, i)
	}
}

// add makes peer i a contact of the table.
func (h *host) add(i int, a answer) wire.PeerID {
	id := idOf(i)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[id] = a
	h.table.Seen(h.refs.Of(id).Contact(), time.Now())
	return id
}

// inBubble runs a test in virtual time with a host without contacts, whose k is 20.
func inBubble(t *testing.T, test func(*testing.T, *host, *Replicator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, r := newHost()
		test(t, h, r)
		r.Background.Stop()
		r.Background.Wait()
	})
}

func newHost() (*host, *Replicator) {
	self := idOf(0)
	h := &host{k: 20, answers: make(map[wire.PeerID]answer), asked: make(map[string]int),
		store: store.NewMemory(self.Key(), store.Limits{Bytes: 1 << 30, Records: 200_000})}
	r := New(Config{Self: self, K: 20, Table: h, Host: h, Background: background.NewGroup(),
		Logger: slog.New(slog.DiscardHandler), Interval: time.Hour})
	r.surveyed.at, r.surveyed.all = time.Now().Add(time.Hour), true // the table holds the whole network
	h.table = routing.NewTable(self.Key(), routing.TableOptions[*peerref.Ref]{K: 20, Joined: r.Joined})
	return h, r
}

// hold puts records in the host's store.
func (h *host) hold(t testing.TB, records []*wire.Signed) {
	t.Helper()
	var items []store.Item
	for _, r := range records {
		items = append(items, store.Item{Record: r})
	}
	for _, err := range h.store.Put(time.Now(), items) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// takesAll is the answer of a peer that lacks every record and stores it.
func takesAll(m wire.Message) wire.Message {
	switch m := m.(type) {
	case wire.Offer:
		return wants(m, func(int) bool { return true })
	case wire.Store:
		return wire.Stored{Results: make([]wire.Code, len(m.Records))}
	}
	return wire.Pong{}
}

// wants is an answer to an OFFER.
func wants(m wire.Offer, which func(int) bool) wire.Wanted {
	w := wire.NewWanted(len(m.Records))
	for i := range m.Records {
		if which(i) {
			w.Set(i)
		}
	}
	return w
}
