package lookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

var errUnreachable, errClosed = errors.New("unreachable"), errors.New("closed")

// A peer has answered from its address.
type peer struct {
	id wire.PeerID
	at netip.AddrPort
}

func (p peer) ID() wire.PeerID            { return p.id }
func (p peer) RemoteAddr() netip.AddrPort { return p.at }

// A host is a fake node, and its table. It records the calls of a lookup.
type host struct {
	refs      peerref.Refs
	closing   context.Context
	client    bool
	table     []wire.PeerID
	knows     []wire.PeerID // each peer names these
	reply     map[wire.PeerID]wire.Message
	connected map[wire.PeerID]bool

	mu           sync.Mutex
	asked        []wire.PeerID
	added        []string // referrals
	looked       int
	bootstrapped int
	steps        []string
}

// idOf returns the ID of peer i.
func idOf(i int) wire.PeerID { return wire.PeerID{byte(i), 1} }

func (h *host) runner() *Runner {
	return New(Config{Self: idOf(0), K: 3, Alpha: 3, Refs: &h.refs, Table: h, Host: h, Closing: h.closing, Unreachable: errUnreachable})
}

func (h *host) Nearest(dst []Contact, target routing.Key, count int) []Contact {
	for _, id := range h.table {
		dst = append(dst, h.refs.Of(id).Contact())
	}
	slices.SortFunc(dst, func(a, b Contact) int { return target.CompareDistance(a.Key, b.Key) })
	return dst[:min(count, len(dst))]
}

func (h *host) Looked(routing.Key, time.Time) { h.looked++ }

func (h *host) Running() error {
	if h.closing.Err() != nil {
		return errClosed
	}
	return nil
}

func (h *host) IsServer() bool                            { return !h.client }
func (h *host) IsConnected(id wire.PeerID) bool           { return h.connected[id] }
func (h *host) Timeout(Query) time.Duration               { return 100 * time.Millisecond }
func (h *host) Patience(Query) time.Duration              { return 200 * time.Millisecond }
func (h *host) Refused(id wire.PeerID, c wire.Code) error { return fmt.Errorf("peer %s: %w", id, c) }
func (h *host) Bootstrap(context.Context) error           { h.bootstrapped++; return nil }

func (h *host) AddReferral(from netip.Addr, c wire.Contact, _ time.Time) {
	h.added = append(h.added, fmt.Sprintf("%d from %s", c.ID[0], from))
}

func (h *host) Request(ctx context.Context, id wire.PeerID, m wire.Message) (Peer, wire.Message, error) {
	h.mu.Lock()
	h.asked = append(h.asked, id)
	reply, special := h.reply[id]
	h.mu.Unlock()
	switch reply := reply.(type) {
	case wire.Error:
		return nil, nil, h.Refused(id, reply.Code)
	case nil:
		if special {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}
		key, known := m.(wire.FindNode).Key, slices.Clone(h.knows)
		slices.SortFunc(known, func(a, b wire.PeerID) int { return key.CompareDistance(a.Key(), b.Key()) })
		var nodes wire.Nodes
		for _, id := range known {
			nodes.Contacts = append(nodes.Contacts, wire.Contact{ID: id})
		}
		return peer{id, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, id[0]}), 1)}, nodes, nil
	}
	return peer{id: id}, reply, nil
}

func (h *host) Observe(_ context.Context, kind string, _ routing.Key) Observer {
	h.step("begin %s", kind)
	return h
}

func (h *host) step(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

func (h *host) Query(q Query, _ int) { h.step("query %d", q.Addr.ID[0]) }
func (h *host) Answer(q Query, _ int, _ time.Duration, closer int, _ bool) {
	h.step("answer %d", q.Addr.ID[0])
}
func (h *host) Fail(q Query, _ int, err error) { h.step("fail %d: %v", q.Addr.ID[0], err) }
func (h *host) Done(found, queries, failed int, _ time.Duration) {
	h.step("done %d %d %d", found, queries, failed)
}

// inBubble runs a test in virtual time with a host that knows peer 1, which names peers
// 1 to 5.
func inBubble(t *testing.T, test func(*testing.T, *host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &host{closing: context.Background(), client: true, table: []wire.PeerID{idOf(1)}, reply: make(map[wire.PeerID]wire.Message), connected: make(map[wire.PeerID]bool)}
		for i := 1; i <= 5; i++ {
			h.knows = append(h.knows, idOf(i))
		}
		test(t, h)
	})
}

// nearest returns the count peers of 1 to 5 that are nearest to a key, without some.
func nearest(key routing.Key, count int, without ...wire.PeerID) (ids []wire.PeerID) {
	for i := 1; i <= 5; i++ {
		if id := idOf(i); !slices.Contains(without, id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b wire.PeerID) int { return key.CompareDistance(a.Key(), b.Key()) })
	return ids[:count]
}

func closest(out *Outcome) (ids []wire.PeerID) {
	for c := range out.Closest() {
		ids = append(ids, c.Addr.ID)
	}
	return ids
}

func TestNodesFindsTheKNearest(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		key := routing.KeyOf("x")
		r := h.runner()
		out, err := r.Nodes(t.Context(), "lookup", key)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := closest(out), nearest(key, 3); !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if h.looked != 1 || r.Count() != 1 || out.Answered() < 3 || len(out.Causes()) > 0 {
			t.Errorf("looked %d, count %d, answered %d, causes %v", h.looked, r.Count(), out.Answered(), out.Causes())
		}
		if first, last := h.steps[0], h.steps[len(h.steps)-1]; first != "begin lookup" || last != fmt.Sprintf("done 3 %d 0", len(h.asked)) {
			t.Errorf("steps: %v", h.steps)
		}
	})
}

// The addresses that peers name go into the peerstore before the peer is dialled. The
// addresses of connected peers do not.
func TestReferralsAreAppliedBeforeADial(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.knows = []wire.PeerID{idOf(1), idOf(2), idOf(3)}
		h.connected[idOf(1)], h.connected[idOf(3)] = true, true
		out, err := h.runner().Nodes(t.Context(), "lookup", routing.KeyOf("x"))
		if err != nil || len(closest(out)) != 3 {
			t.Fatalf("%v, %v", closest(out), err)
		}
		if !slices.Contains(h.added, "2 from 192.0.2.1") {
			t.Errorf("referrals applied: %q, want peer 2 by peer 1", h.added)
		}
		if slices.ContainsFunc(h.added, func(s string) bool { return s[0] != '2' }) {
			t.Errorf("referrals applied: %q, want peer 2 only", h.added)
		}
		for id := range out.Named() {
			if !slices.Contains(h.knows, id) {
				t.Errorf("named %s", id)
			}
		}
	})
}

// A lookup does not wait for a peer that keeps silent, and marks it.
func TestSilentPeersAreMarked(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		key := routing.KeyOf("x")
		silent := nearest(key, 1)[0]
		h.table, h.reply[silent] = h.knows, nil
		start := time.Now()
		out, err := h.runner().PatientNodes(t.Context(), "durability", key)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := closest(out), nearest(key, 3, silent); !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if took := time.Since(start); took > 400*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if !h.refs.Of(silent).IsSilent(time.Now(), time.Second) || !errors.Is(out.Causes()[silent], context.DeadlineExceeded) {
			t.Errorf("causes: %v", out.Causes())
		}
		if !slices.Contains(h.steps, fmt.Sprintf("fail %d: %v", silent[0], errTimeout)) {
			t.Errorf("steps: %q", h.steps)
		}
	})
}

func TestWithoutAnyAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		key := routing.KeyOf("x")
		r := h.runner()
		h.reply[idOf(1)] = wire.Pong{} // not a reply to FIND_NODE
		if _, err := r.Nodes(t.Context(), "lookup", key); !errors.Is(err, errUnreachable) {
			t.Errorf("no answer: %v", err)
		}
		h.reply[idOf(1)] = wire.Error{Code: wire.CodeBusy}
		if out, err := r.Nodes(t.Context(), "lookup", key); err != nil || out.Answered() != 1 || !errors.Is(out.Causes()[idOf(1)], wire.CodeBusy) {
			t.Errorf("an error is an answer: %v", err)
		}
		h.table = nil
		if _, err := r.Nodes(t.Context(), "lookup", key); !errors.Is(err, errUnreachable) || h.bootstrapped != 1 {
			t.Errorf("a client that knows no peer: %v after %d attempts to bootstrap", err, h.bootstrapped)
		}
		h.client = false
		if out, err := r.Nodes(t.Context(), "lookup", key); err != nil || !slices.Equal(closest(out), []wire.PeerID{idOf(0)}) {
			t.Errorf("a server that knows no peer: %v", err)
		}
	})
}

func TestLookupsEndWithTheNodeAndTheContext(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := Lookup{Ask: func(context.Context, Query, *Outcome) (Reply, error) { return Reply{}, nil }}
		if out, err := h.runner().Run(ctx, w); out != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v, %v", out, err)
		}
		closing, closeNode := context.WithCancel(t.Context())
		h.closing = closing
		w.Ask = func(context.Context, Query, *Outcome) (Reply, error) { closeNode(); return Reply{}, errUnreachable }
		if out, err := h.runner().Run(t.Context(), w); out == nil || !errors.Is(err, errClosed) || h.looked != 0 {
			t.Errorf("while the node closes: %v", err)
		}
		if out, err := h.runner().Run(t.Context(), w); out != nil || !errors.Is(err, errClosed) {
			t.Errorf("after that: %v", err)
		}
	})
}
