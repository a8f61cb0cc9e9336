package node

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A log is a trace that keeps everything.
type log struct {
	mu      sync.Mutex
	starts  []LookupStart
	queries []QueryEvent
	answers []AnswerEvent
	fails   []FailEvent
	dones   []LookupDone
	peers   []PeerEvent
}

func keep[E any](l *log, all *[]E) func(E) {
	return func(e E) {
		l.mu.Lock()
		defer l.mu.Unlock()
		*all = append(*all, e)
	}
}

func (l *log) trace() *Trace {
	return &Trace{
		Lookup: keep(l, &l.starts), Query: keep(l, &l.queries), Answer: keep(l, &l.answers),
		Fail: keep(l, &l.fails), Done: keep(l, &l.dones), Peer: keep(l, &l.peers),
	}
}

// The trace shows every hop of a lookup: the asked peer, the peer that named it, and the answer.
func TestTraceShowsEveryHop(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		for range 20 {
			s.add(Config{K: 3})
		}
		client := s.add(Config{K: 3, Mode: ModeClient})
		var l log
		target := s.nodes[13].Key()
		near, err := client.Nearest(WithTrace(within(t, time.Minute), l.trace()), target)
		if err != nil || near[0].ID != s.nodes[13].ID() {
			t.Fatal(near, err)
		}
		if len(l.starts) != 1 || len(l.dones) != 1 || l.starts[0].Kind != "lookup" || l.starts[0].Target != target {
			t.Fatalf("starts %v, ends %v", l.starts, l.dones)
		}
		id := l.starts[0].ID
		asked := make(map[wire.PeerID]int)
		deepest := 0
		for _, e := range l.queries {
			if e.Lookup != id || e.Store || e.Key != e.Peer.Key() || e.CPL != e.Key.CommonPrefixLen(target) || e.Hop < 1 {
				t.Errorf("query %+v", e)
			}
			if asked[e.Peer]++; asked[e.Peer] > 1 || e.Peer == client.ID() {
				t.Errorf("%s was asked again, or is ourselves", e.Peer)
			}
			deepest = max(deepest, e.Hop)
		}
		if deepest < 2 {
			t.Errorf("the lookup went no farther than %d hops", deepest)
		}
		for _, e := range l.answers {
			if e.Lookup != id || asked[e.Peer] != 1 || e.RTT < 20*time.Millisecond || e.Closer == 0 || e.Value {
				t.Errorf("answer %+v", e)
			}
		}
		if d := l.dones[0]; d.ID != id || d.Queries != len(l.queries) || d.Found != 3 || d.Failed != 0 || len(l.answers) != len(l.queries) {
			t.Errorf("%d queries, %d answers, %+v", len(l.queries), len(l.answers), d)
		}
	})
}

// The trace shows the holders of a put, the source of a value, and the cause of a failure.
func TestTraceOfPutAndGet(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		var whole log // of a node, all the time
		s.add(Config{})
		s.add(Config{Trace: whole.trace()})
		s.add(Config{})
		n, key := s.nodes[1], routing.KeyOf("x")
		var put, get log
		if _, err := n.Put(WithTrace(within(t, time.Minute), put.trace()), key, nil, nil); err != nil {
			t.Fatal(err)
		}
		stores := 0
		for _, e := range put.answers {
			if e.Store {
				stores++
			}
		}
		if put.starts[0].Kind != "put" || stores != 2 {
			t.Errorf("%v, %d stored", put.starts, stores)
		}
		client := s.add(Config{Mode: ModeClient})
		if _, err := client.Get(WithTrace(within(t, time.Minute), get.trace()), key, nil); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range get.answers {
			if e.Value {
				found++
			}
		}
		if get.starts[0].Kind != "get" || found == 0 {
			t.Errorf("%v, %d found", get.starts, found)
		}
		s.kill(2)
		var failed log
		if _, err := n.Nearest(WithTrace(within(t, time.Minute), failed.trace()), key); err != nil {
			t.Fatal(err)
		}
		if len(failed.fails) != 1 || failed.fails[0].Peer != s.nodes[2].ID() || failed.fails[0].Err == nil || failed.dones[0].Failed != 1 {
			t.Errorf("fails: %v, %+v", failed.fails, failed.dones)
		}
		s.nodes[0].Close()
		time.Sleep(time.Second)
		synctest.Wait()
		joined, left := 0, 0
		for _, e := range whole.peers {
			if e.Silent { // the one that was killed
				continue
			}
			if e.Joined {
				joined++
			} else if left++; e.Peer != s.nodes[0].ID() {
				t.Errorf("left: %v", e)
			}
		}
		if joined != 2 || left != 1 {
			t.Errorf("peers: %v", whole.peers)
		}
		if kinds := len(whole.starts); kinds < 3 { // join, put, lookup
			t.Errorf("the node's own trace: %v", whole.starts)
		}
	})
}

// Each event says in a line what happened, whatever a peer has put into it.
func TestEventsPrintThemselves(t *testing.T) {
	id := idOf(testKey(0))
	for _, c := range []struct {
		event interface{ String() string }
		want  string
	}{
		{LookupStart{1, "put", routing.KeyOf("x")}, "put " + routing.KeyOf("x").String()},
		{QueryEvent{Peer: id, CPL: 7}, "ask " + id.String() + " (shares 7 bits)"},
		{QueryEvent{Peer: id, CPL: 7, Store: true}, "store on " + id.String() + " (shares 7 bits)"},
		{AnswerEvent{Peer: id, Closer: 20, RTT: 1234567}, id.String() + " names 20 peers, after 1.23ms"},
		{AnswerEvent{Peer: id, Store: true, RTT: 1e6}, id.String() + " has stored, after 1ms"},
		{AnswerEvent{Peer: id, Value: true, RTT: 1e6}, id.String() + " has the value, after 1ms"},
		{FailEvent{Peer: id, Err: errors.New("no answer")}, id.String() + " failed: no answer"},
		{FailEvent{Peer: id, Err: &RemoteError{id, wire.CodeBusy, "\x1b[2J"}}, `"\x1b[2J"`},
		{LookupDone{Found: 20, Queries: 23, Failed: 1, Took: 1e9}, "done: 23 requests, 1 failed, 1s"},
		{PeerEvent{Peer: id, Addr: wire.AddrFrom(host(0)), Joined: true}, "peer " + id.String() + " at /ip4/25.0.0.1/udp/4774/quic-v1"},
		{PeerEvent{Peer: id}, "peer " + id.String() + " is gone"},
		{PeerEvent{Peer: id, Silent: true}, "peer " + id.String() + " does not answer"},
		{PeerEvent{Peer: id, Addr: wire.AddrFrom(host(0)), Back: true}, "peer " + id.String() + " at /ip4/25.0.0.1/udp/4774/quic-v1 answers again"},
	} {
		if got := c.event.String(); !strings.HasSuffix(got, c.want) || strings.ContainsAny(got, "\x1b\n") {
			t.Errorf("%T: %q, want %q", c.event, got, c.want)
		}
	}
}
