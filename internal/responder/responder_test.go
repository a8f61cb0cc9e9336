package responder

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha3"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func testKey(i int) ed25519.PrivateKey {
	seed := sha3.Sum256(fmt.Append(nil, "responder ", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(i int) wire.PeerID { return wire.PeerID(testKey(i).Public().(ed25519.PublicKey)) }

// A host is a fake node, number 0, with its routing table and its store, and k = 3.
type host struct {
	refs    peerref.Refs
	values  store.Store
	client  bool
	batches [][]store.Item // put into the store
	checked int
	verdict func(*wire.Signed) Verdict

	mu    sync.Mutex
	table *table
}

func (h *host) IsServer() bool                                    { return !h.client }
func (h *host) Store() store.Store                                { return countingStore{h.values, h} }
func (h *host) OwnRecord() *wire.Signed                           { return recordOf(0) }
func (h *host) RecordOf(id wire.PeerID, _ time.Time) *wire.Signed { return recordOf(h.number(id)) }
func (h *host) OfferCost(n int) int                               { return max(1, n/10) }
func (h *host) Nearest(dst []contact, target routing.Key, n int) []contact {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.AppendNearest(dst, target, n)
}

func (h *host) Check(s *wire.Signed, _ time.Time) Verdict {
	h.checked++
	if h.verdict == nil {
		return Verdict{}
	}
	return h.verdict(s)
}

func (h *host) Contains(key routing.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.Contains(key)
}

func (h *host) Each(n int, f func(t *table, i int)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		f(h.table, i)
	}
}

func (h *host) number(id wire.PeerID) int {
	for i := range 100 {
		if idOf(i) == id {
			return i
		}
	}
	return -1
}

// recordOf stands for the peer record of peer i.
func recordOf(i int) *wire.Signed { return &wire.Signed{Record: wire.Record{Publisher: idOf(i)}} }

// A countingStore notes what is put into it.
type countingStore struct {
	store.Store
	h *host
}

func (s countingStore) Put(now time.Time, batch []store.Item) []error {
	s.h.batches = append(s.h.batches, batch)
	return s.Store.Put(now, batch)
}

// A peer is a fake sender of requests.
type peer struct {
	id      wire.PeerID
	server  bool
	refused int // from this many on
	bytes   int // that it may store

	mu      sync.Mutex
	answers map[uint64]wire.Message
}

func (p *peer) ID() wire.PeerID                       { return p.id }
func (p *peer) Key() routing.Key                      { return p.id.Key() }
func (p *peer) Source() netip.Addr                    { return netip.MustParseAddr("192.0.2.1") }
func (p *peer) IsServer() bool                        { return p.server }
func (p *peer) AllowRequests(_ time.Time, n int) bool { return n < p.refused }
func (p *peer) AllowStore(_ time.Time, n int) bool    { return n <= p.bytes }

func (p *peer) Reply(id uint64, m wire.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok := m.(wire.Nodes); ok { // valid until Reply returns
		n.Contacts = slices.Clone(n.Contacts)
		m = n
	}
	p.answers[id] = m
	return nil
}

func newPeer(i int) *peer {
	return &peer{id: idOf(i), refused: 1000, bytes: 1 << 20, answers: make(map[uint64]wire.Message)}
}

// ask sends a request and returns the answer, nil if there is none yet.
func (p *peer) ask(r *Responder, m wire.Message) wire.Message {
	id := uint64(len(p.answers) + 1)
	if handled, err := r.Serve(p, id, m, time.Now()); !handled || err != nil {
		panic(fmt.Sprint(handled, err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers[id]
}

func newHost() (*host, *Responder) {
	self := idOf(0)
	h := &host{values: store.NewMemory(self.Key(), store.Limits{}), table: routing.NewTable(self.Key(), routing.TableOptions[*peerref.Ref]{K: 20})}
	return h, New(Config{Self: self, K: 3, Table: h, Host: h, Slack: 1, MaxForged: 3})
}

// add makes peer i a contact, with an address if it was authenticated there.
func (h *host) add(i int, addrs ...wire.Addr) {
	ref := h.refs.Of(idOf(i))
	if len(addrs) > 0 {
		ref.SetAddrs(addrs)
	}
	h.table.Seen(ref.Contact(), time.Now())
}

// keysByRank returns keys by how many contacts are nearer to them than this node, few first.
func (h *host) keysByRank() (ranks []int, keys map[int]routing.Key) {
	keys = make(map[int]routing.Key)
	for i := range 1000 {
		key := routing.KeyOf(fmt.Sprint(i))
		keys[h.table.Closer(key)] = key
	}
	return slices.Sorted(maps.Keys(keys)), keys
}

func (h *host) signed(t *testing.T, i int, key routing.Key) *wire.Signed {
	t.Helper()
	s, err := wire.Sign(wire.Record{Kind: wire.KindOpen, Key: key, Seq: 1, Expiry: time.Now().Add(time.Hour), Value: []byte("x")}, testKey(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// FIND_NODE names the k nearest contacts without the asker and without those that were never
// authenticated at an address, and adds the record of the peer whose key was asked for.
func TestFindNodeNamesTheNearest(t *testing.T) {
	h, r := newHost()
	for i := 1; i <= 5; i++ {
		h.add(i, wire.Addr("a"))
	}
	h.add(6)
	asker := newPeer(1)
	for _, c := range []struct {
		of     int
		record bool
	}{{0, true}, {2, true}, {77, false}} {
		key := idOf(c.of).Key()
		m, ok := asker.ask(r, wire.FindNode{Key: key, Count: 20}).(wire.Nodes)
		if !ok || len(m.Contacts) == 0 || len(m.Contacts) > 3 {
			t.Fatalf("answered %+v", m)
		}
		for i, n := range m.Contacts {
			if n.ID == asker.id || n.ID == idOf(6) || len(n.Addrs) == 0 {
				t.Errorf("contact %d is %d, with addresses %v", i, h.number(n.ID), n.Addrs)
			}
			if i > 0 && key.CompareDistance(m.Contacts[i-1].ID.Key(), n.ID.Key()) > 0 {
				t.Error("the nearest does not come first")
			}
		}
		if got := m.Record != nil; got != c.record || got && m.Record.Record.Publisher != idOf(c.of) {
			t.Errorf("record of peer %d: %+v", c.of, m.Record)
		}
	}
	if m := asker.ask(r, wire.FindNode{Key: r.key, Count: 0}).(wire.Nodes); len(m.Contacts) > 0 {
		t.Errorf("0 contacts were asked for, %d came", len(m.Contacts))
	}
}

// Messages of other parts of the node are left to them.
func TestOtherMessagesAreNotHandled(t *testing.T) {
	_, r := newHost()
	for _, m := range []wire.Message{wire.Ping{}, wire.Reserve{}, wire.Call{}, wire.DialBack{}, wire.Hello{}} {
		if handled, err := r.Serve(newPeer(1), 1, m, time.Now()); handled || err != nil {
			t.Errorf("%T: handled %v, %v", m, handled, err)
		}
	}
}

// Pages hold each record once, in the order of publishers, and fit the frame beside the largest
// number of contacts.
func TestPagesFitTheFrame(t *testing.T) {
	key, now := routing.KeyOf("x"), time.Now()
	contacts := make([]wire.Contact, wire.MaxContacts)
	for i := range contacts {
		contacts[i] = wire.Contact{ID: idOf(1), Addrs: make([]wire.Addr, wire.MaxAddrs)}
		for j := range contacts[i].Addrs {
			contacts[i].Addrs[j] = wire.Addr(bytes.Repeat([]byte("a"), wire.MaxAddrLen))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var held []*wire.Signed
		least := rapid.SampledFrom([]int{100, 1000, wire.MaxPeerRecord + 120}).Draw(t, "least size")
		for range rapid.IntRange(0, 200).Draw(t, "held") {
			r := wire.Record{Kind: wire.KindProvider, Key: key, Expiry: now.Add(time.Hour), Publisher: wire.PeerID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "publisher"))}
			if slices.ContainsFunc(held, func(s *wire.Signed) bool { return s.Record.Publisher == r.Publisher }) || r.Publisher.IsZero() {
				continue
			}
			held = append(held, &wire.Signed{Record: r, Payload: make([]byte, rapid.IntRange(least, wire.MaxPeerRecord+120).Draw(t, "size"))})
		}
		h, r := newHost()
		h.values = store.NewMemory(routing.Key{}, store.Limits{})
		for _, s := range held {
			if err := h.values.Put(now, []store.Item{{Record: s}})[0]; err != nil {
				t.Fatal(err)
			}
		}
		asker := newPeer(1)
		var got []*wire.Signed
		for after, more := (wire.PeerID{}), true; more; {
			page := asker.ask(r, wire.GetProviders{Key: key, After: after}).(wire.Providers)
			got, more = append(got, page.Records...), page.More
			if more && len(page.Records) == 0 || len(page.Records) > wire.MaxPage {
				t.Fatalf("a page of %d", len(page.Records))
			}
			page.Contacts = contacts
			if n := len(wire.AppendFrame(nil, wire.Frame{ID: 1 << 60, Body: page})); n > wire.MaxFrame {
				t.Fatalf("a page of %d bytes", n)
			}
			if more {
				after = page.Records[len(page.Records)-1].Record.Publisher
			}
		}
		slices.SortFunc(held, func(a, b *wire.Signed) int { return bytes.Compare(a.Record.Publisher[:], b.Record.Publisher[:]) })
		if !slices.Equal(got, held) {
			t.Fatalf("%d records in the pages, want %d", len(got), len(held))
		}
	})
}

// A client refuses OFFER and STORE, and a server refuses what exceeds the quota of the peer.
func TestRefusals(t *testing.T) {
	h, r := newHost()
	s := h.signed(t, 1, routing.KeyOf("a"))
	offer := wire.Offer{Records: slices.Repeat([]wire.Offered{{Kind: s.Record.Kind, Key: s.Record.Key, Print: s.Print()}}, 100)}
	put := wire.Store{Records: []*wire.Signed{s}}
	want := func(p *peer, m wire.Message, code wire.Code) {
		t.Helper()
		if e, ok := p.ask(r, m).(wire.Error); !ok || e.Code != code {
			t.Errorf("%T is answered with %v, want %v", m, e, code)
		}
	}
	h.client = true
	want(newPeer(1), offer, wire.CodeUnimplemented)
	want(newPeer(1), put, wire.CodeUnimplemented)
	h.client = false
	p := newPeer(1)
	p.refused, p.bytes = 9, len(s.Payload)-1
	want(p, offer, wire.CodeBusy)
	want(p, put, wire.CodeBusy)
	p = newPeer(1)
	for range maxJobs {
		if m := p.ask(r, put); m != nil {
			t.Fatalf("answered %v before the record was stored", m)
		}
	}
	want(p, put, wire.CodeBusy)
}

// OFFER wants what this node lacks, of known kinds. Offers by one of the k nearest servers
// suppress republishing, and no others do.
func TestOfferWantsWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := newHost()
		for i := 1; i <= 5; i++ {
			h.add(i, wire.Addr("a"))
		}
		held, missing := h.signed(t, 1, idOf(2).Key()), h.signed(t, 2, idOf(2).Key())
		if err := h.values.Put(time.Now(), []store.Item{{Record: held}})[0]; err != nil {
			t.Fatal(err)
		}
		var offer wire.Offer
		for _, s := range []*wire.Signed{held, missing} {
			offer.Records = append(offer.Records, wire.Offered{Kind: s.Record.Kind, Key: s.Record.Key, Print: s.Print()})
		}
		offer.Records = append(offer.Records, wire.Offered{Kind: 99, Key: routing.KeyOf("b")})
		received := func() (at time.Time) {
			for h := range h.values.All(time.Now()) {
				at = h.Received
			}
			return at
		}
		for _, c := range []struct {
			from       int
			server     bool
			suppresses bool
		}{{2, false, false}, {40, true, false}, {2, true, true}} {
			time.Sleep(time.Minute)
			before, p := received(), newPeer(c.from)
			p.server = c.server
			m := p.ask(r, offer).(wire.Wanted)
			if m.Has(0) || !m.Has(1) || m.Has(2) {
				t.Errorf("wanted: %v %v %v, want only the second", m.Has(0), m.Has(1), m.Has(2))
			}
			if got := received().After(before); got != c.suppresses {
				t.Errorf("an offer of peer %d, server %v, suppresses: %v", c.from, c.server, got)
			}
		}
	})
}

// run starts the store's writer, until the test ends.
func run(t *testing.T, r *Responder) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.WriteStores(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// All STOREs that wait go to disk in one batch, and each is answered after it.
func TestStoresShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := newHost()
		p := newPeer(1)
		for i := range 10 {
			if m := p.ask(r, wire.Store{Records: []*wire.Signed{h.signed(t, i, routing.KeyOf("a"))}}); m != nil {
				t.Errorf("answered %v before the record was stored", m)
			}
			p.answers[uint64(i+1)] = nil // so that the next request has another id
		}
		run(t, r)
		synctest.Wait()
		if len(h.batches) != 1 || len(h.batches[0]) != 10 {
			t.Errorf("%d batches", len(h.batches))
		}
		for id, m := range p.answers {
			if s, ok := m.(wire.Stored); !ok || len(s.Results) != 1 || s.Results[0] != wire.CodeOK {
				t.Errorf("request %d is answered with %v", id, m)
			}
		}
	})
}

// Each record has its own code: of the check, of the store, or TOO_FAR for a cached copy beyond
// the holders. After three forged ones, or one slow check, the rest is not checked.
func TestStoreAnswersForEachRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := newHost()
		for i := 1; i <= 20; i++ {
			h.add(i, wire.Addr("a"))
		}
		run(t, r)
		ranks, keys := h.keysByRank()
		near, slack, far := keys[ranks[0]], keys[ranks[1]], keys[ranks[2]]
		r.K = ranks[1] - 1 // and one more with slack
		codes := func(p *peer, m wire.Store) []wire.Code {
			id := uint64(len(p.answers) + 1)
			p.ask(r, m)
			synctest.Wait()
			return p.answers[id].(wire.Stored).Results
		}
		p := newPeer(40)
		if got := codes(p, wire.Store{Records: []*wire.Signed{h.signed(t, 1, near), h.signed(t, 1, slack), h.signed(t, 1, far)}}); !slices.Equal(got, []wire.Code{wire.CodeOK, wire.CodeTooFar, wire.CodeTooFar}) {
			t.Errorf("of a peer that has not looked up the nearest: %v", got)
		}
		if got := codes(p, wire.Store{Count: 1, Records: []*wire.Signed{h.signed(t, 2, near), h.signed(t, 2, slack), h.signed(t, 2, far)}}); !slices.Equal(got, []wire.Code{wire.CodeOK, wire.CodeOK, wire.CodeTooFar}) {
			t.Errorf("of a peer that has: %v", got)
		}
		seq, puts := uint64(0), len(h.batches)
		if got := codes(p, wire.Store{IfSeq: &seq, Records: []*wire.Signed{h.signed(t, 3, far)}}); !slices.Equal(got, []wire.Code{wire.CodeTooFar}) || len(h.batches) != puts {
			t.Errorf("compare-and-set at a node that is no holder: %v, %d batches", got, len(h.batches)-puts)
		}
		h.verdict = func(s *wire.Signed) Verdict {
			return map[byte]Verdict{
				'f': {Code: wire.CodeInvalid, Forged: true}, 's': {Code: wire.CodeInternal, Slow: true}, 'i': {Code: wire.CodeExpired},
			}[s.Record.Value[0]]
		}
		for kinds, want := range map[string]int{"iiiiiii": 7, "fffgg": 3, "fgfgfg": 5, "sg": 1} {
			var m wire.Store
			for i, kind := range kinds {
				s := *h.signed(t, 10+i, near)
				s.Record.Value = []byte{byte(kind)}
				m.Records = append(m.Records, &s)
			}
			h.checked = 0
			got := codes(p, m)
			if h.checked != want || want < len(kinds) && got[len(kinds)-1] != wire.CodeBusy {
				t.Errorf("of %s %d were checked, want %d; answered %v", kinds, h.checked, want, got)
			}
		}
	})
}

// STORE with a count names contacts that are nearer to the key than the bound.
func TestStoreNamesNearerContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := newHost()
		for i := 1; i <= 6; i++ {
			h.add(i, wire.Addr("a"))
		}
		run(t, r)
		p, key := newPeer(40), routing.KeyOf("a")
		near := h.table.AppendNearest(nil, key, 3)
		p.ask(r, wire.Store{Count: 3, Bound: near[2].Key, Records: []*wire.Signed{h.signed(t, 1, key)}})
		synctest.Wait()
		m := p.answers[1].(wire.Stored)
		if len(m.Contacts) != 2 || m.Contacts[0].ID != near[0].Addr.ID || m.Contacts[1].ID != near[1].Addr.ID {
			t.Errorf("named %d contacts, want the two nearest", len(m.Contacts))
		}
	})
}
