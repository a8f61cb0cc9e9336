package search

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

var (
	errUnreachable = errors.New("unreachable")
	errNotRunning  = errors.New("not running")
)

// testKey is the i-th identity, the same in every run.
func testKey(i int) ed25519.PrivateKey {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(i int) wire.PeerID { return wire.PeerID(testKey(i).Public().(ed25519.PublicKey)) }

// signed signs a record by the i-th identity, which ends in an hour if it does not say when.
func signed(t *testing.T, i int, r wire.Record) *wire.Signed {
	t.Helper()
	if r.Expiry.IsZero() {
		r.Expiry = time.Now().Add(time.Hour)
	}
	switch {
	case r.Kind == wire.KindOwned:
		r.Key = wire.OwnedKey(idOf(i), r.Name)
	case r.Kind == wire.KindOpen && len(r.Name) > 0:
		r.Key = routing.KeyOf(r.Name)
	}
	s, err := wire.Sign(r, testKey(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A peer is a node of the fake network. It answers at once.
type peer struct {
	id    wire.PeerID
	net   *network
	store store.Store
	asked int
	reply func(wire.Message) wire.Message // instead of an honest reply; nil from it: silence
}

func (p *peer) ID() wire.PeerID            { return p.id }
func (p *peer) RemoteAddr() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:4774") }

// answer is an honest reply.
func (p *peer) answer(m wire.Message) wire.Message {
	now := time.Now()
	switch m := m.(type) {
	case wire.FindNode:
		return wire.Nodes{Contacts: p.net.contacts(m.Key, m.Count)}
	case wire.FindValue:
		v := wire.Value{Contacts: p.net.contacts(m.Key, m.Count)}
		if m.All {
			v.Records, v.More = p.store.Page(now, m.Kind, m.Key, m.After, wire.MaxPage, 40<<10)
		} else {
			v.Records = p.store.Get(now, m.Kind, m.Key, wire.MaxRecords)
		}
		return v
	case wire.GetProviders:
		v := wire.Providers{Contacts: p.net.contacts(m.Key, m.Count)}
		v.Records, v.More = p.store.Page(now, wire.KindProvider, m.Key, m.After, wire.MaxPage, 40<<10)
		return v
	case wire.Store:
		var results []wire.Code
		for _, r := range m.Records {
			err := p.store.Put(now, []store.Item{{Record: r, IfSeq: m.IfSeq}})[0]
			code := wire.CodeOK
			errors.As(err, &code)
			results = append(results, code)
		}
		return wire.Stored{Results: results, Contacts: p.net.contacts(m.Records[0].Record.Key, m.Count)}
	}
	return wire.Error{Code: wire.CodeUnimplemented}
}

// A network is peers that all know each other, and a Searcher, which is the host's.
type network struct {
	*Searcher
	t        *testing.T
	refs     peerref.Refs
	isServer bool
	running  bool
	own      store.Store

	mu    sync.Mutex
	peers []*peer
}

// inNetwork runs a test in virtual time with a Searcher, of k 4, and n peers.
func inNetwork(t *testing.T, n int, rules map[string]Rules, test func(*testing.T, *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		validators, err := NewValidators(rules, log)
		if err != nil {
			t.Fatal(err)
		}
		group := background.NewGroup()
		defer group.Wait()
		defer group.Stop()
		w := &network{t: t, isServer: true, running: true, own: store.NewMemory(idOf(0).Key(), store.Limits{})}
		for i := range n {
			id := idOf(i + 1)
			w.peers = append(w.peers, &peer{id: id, net: w, store: store.NewMemory(id.Key(), store.Limits{})})
		}
		w.Searcher = New(Config{
			Lookups: lookup.New(lookup.Config{
				Self: idOf(0), K: 4, Alpha: 3, Refs: &w.refs, Table: w, Host: w,
				Closing: group.Context(), Unreachable: errUnreachable,
			}),
			Background: group, Validators: validators, Logger: log,
			Store:      func() store.Store { return w.own },
			Closer:     func(routing.Key) int { return 0 },
			RPCTimeout: 5 * time.Second, Busy: wire.CodeBusy,
		})
		test(t, w)
	})
}

// near returns the peers, those nearest to key first.
func (w *network) near(key routing.Key) []*peer {
	all := slices.Clone(w.peers)
	slices.SortFunc(all, func(a, b *peer) int { return key.CompareDistance(a.id.Key(), b.id.Key()) })
	return all
}

func (w *network) contacts(key routing.Key, count int) (all []wire.Contact) {
	for _, p := range w.near(key)[:min(count, len(w.peers))] {
		all = append(all, wire.Contact{ID: p.id})
	}
	return all
}

// holders returns which peers, by nearness to its key, hold that very record.
func (w *network) holders(r *wire.Signed) (all []int) {
	for i, p := range w.near(r.Record.Key) {
		if p.store.Has(time.Now(), r) {
			all = append(all, i)
		}
	}
	return all
}

// hold stores a record at a peer.
func (w *network) hold(p *peer, r *wire.Signed) {
	w.t.Helper()
	if err := p.store.Put(time.Now(), []store.Item{{Record: r}})[0]; err != nil {
		w.t.Fatal(err)
	}
}

func (w *network) Nearest(dst []lookup.Contact, target routing.Key, count int) []lookup.Contact {
	for _, p := range w.near(target)[:min(count, len(w.peers))] {
		dst = append(dst, w.refs.Of(p.id).Contact())
	}
	return dst
}

func (w *network) Looked(routing.Key, time.Time) {}

func (w *network) Running() error {
	if !w.running {
		return errNotRunning
	}
	return nil
}

func (w *network) IsServer() bool                                               { return w.isServer }
func (w *network) IsConnected(wire.PeerID) bool                                 { return true }
func (w *network) AddReferral(netip.Addr, wire.Contact, time.Time)              {}
func (w *network) Bootstrap(context.Context) error                              { return nil }
func (w *network) Timeout(lookup.Query) time.Duration                           { return 100 * time.Millisecond }
func (w *network) Patience(lookup.Query) time.Duration                          { return 200 * time.Millisecond }
func (w *network) Refused(id wire.PeerID, c wire.Code) error                    { return fmt.Errorf("peer %s: %w", id, c) }
func (w *network) Observe(context.Context, string, routing.Key) lookup.Observer { return nil }

func (w *network) Request(ctx context.Context, id wire.PeerID, m wire.Message) (lookup.Peer, wire.Message, error) {
	w.mu.Lock()
	i := slices.IndexFunc(w.peers, func(p *peer) bool { return p.id == id })
	if i < 0 {
		w.mu.Unlock()
		return nil, nil, errUnreachable
	}
	p := w.peers[i]
	p.asked++
	var reply wire.Message
	if p.reply != nil {
		reply = p.reply(m)
	} else {
		reply = p.answer(m)
	}
	w.mu.Unlock()
	switch reply := reply.(type) {
	case nil:
		ctx, cancel := context.WithTimeout(ctx, w.RPCTimeout)
		defer cancel()
		<-ctx.Done()
		return nil, nil, ctx.Err()
	case wire.Error:
		return p, nil, w.Refused(id, reply.Code)
	}
	return p, reply, nil
}

// byPublisher sorts records as they come in pages.
func byPublisher(records []*wire.Signed) []*wire.Signed {
	slices.SortFunc(records, func(a, b *wire.Signed) int {
		return bytes.Compare(a.Record.Publisher[:], b.Record.Publisher[:])
	})
	return records
}
