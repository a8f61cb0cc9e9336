package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// asker is a client that gets no requests.
func (s *testNetwork) asker(i int) *stranger {
	x := s.stranger(i)
	x.hello.Mode = wire.ModeClient
	return x
}

func offerOf(records ...*wire.Signed) (m wire.Offer) {
	for _, r := range records {
		m.Records = append(m.Records, wire.Offered{Kind: r.Record.Kind, Key: r.Record.Key, Print: r.Print()})
	}
	return m
}

// What is held is not wanted, not even another signature of the same value is
// taken for it.
func TestOffersAreAnswered(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		records := contents(t, 20, 10)
		for i := 0; i < 20; i += 2 {
			if err := n.storeLocal(records[i]); err != nil {
				t.Fatal(err)
			}
		}
		other := *records[0]
		other.Signature[3] ^= 1
		records = append(records, &other)
		k := s.asker(0).meet(n)
		m, ok := k.ask(offerOf(records...)).(wire.Wanted)
		for i := range records {
			if want := i%2 == 1 || i == 20; !ok || m.Has(i) != want {
				t.Errorf("record %d: wanted %v, want %v", i, m.Has(i), want)
			}
		}
		if st := n.Stats(); st.Served.Offer != 1 {
			t.Errorf("served: %+v", st.Served)
		}
	})
}

// A client stores nothing, so it wants nothing. Who offers without end is told
// that we are busy: a thousand records count like 16 requests.
func TestOffersAreLimited(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		full := offerOf(contents(t, wire.MaxOffer, 1)...)
		k := s.asker(0).meet(s.add(Config{Mode: ModeClient}))
		if m, ok := k.ask(full).(wire.Error); !ok || m.Code != wire.CodeUnimplemented {
			t.Errorf("a client answers %v", m)
		}
		k = s.asker(1).meet(s.nodes[0])
		answered, start := 0, time.Now()
		for range 40 {
			switch m := k.ask(full).(type) {
			case wire.Wanted:
				answered++
			case wire.Error:
				if m.Code != wire.CodeBusy {
					t.Errorf("answered %v", m)
				}
			}
		}
		took := time.Since(start)
		if most := (200 + int(50*took.Seconds())) / 16; answered < 10 || answered > most+1 {
			t.Errorf("%d offers of 1024 were looked through in %v, want at most %d", answered, took, most)
		}
		time.Sleep(10 * time.Second)
		if m, ok := k.ask(full).(wire.Wanted); !ok {
			t.Errorf("10 s later: %v", m)
		}
	})
}

// A node that knows more than k nearer ones keeps a cached copy for a while, and answers TOO_FAR. It
// still wants the record when it is offered, because it may be one of the k nearest by then.
func TestACacheIsNotCounted(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(12, 3)
		n := s.nodes[0]
		var far *wire.Signed
		for i := 0; far == nil; i++ {
			r := signed(t, 1, wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Seq: 1, Expiry: time.Now().Add(time.Hour)})
			if n.routes.Closer(r.Record.Key) > 3 {
				far = r
			}
		}
		k := s.asker(0).meet(n)
		m, ok := k.ask(wire.Store{Records: []*wire.Signed{far}, Count: 3}).(wire.Stored)
		if !ok || m.Results[0] != wire.CodeTooFar || len(m.Contacts) != 3 {
			t.Fatalf("answered %+v", m)
		}
		if h, ok := heldAt(n, wire.KindOpen, far.Record.Key); !ok || !h.Cached {
			t.Errorf("kept: %v, %+v", ok, h)
		}
		if m, ok := k.ask(offerOf(far)).(wire.Wanted); !ok || !m.Has(0) {
			t.Error("a cached copy is taken for one that is held")
		}
	})
}

// A put goes on to the nearer nodes that a distant node names, and does not count the distant one.
func TestAPutDoesNotCountCaches(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(1, 3)
		n, x := s.nodes[0], s.stranger(0)
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m.(type) {
			case wire.Store:
				return wire.Stored{Results: []wire.Code{wire.CodeTooFar}}
			case wire.FindNode:
				return wire.Nodes{}
			}
			return wire.Pong{}
		})
		stored, err := n.Put(within(t, time.Minute), routing.KeyOf("x"), nil, &PutOptions{Quorum: 2})
		perr, ok := errors.AsType[*PutError](err)
		if !ok || stored.Count != 1 || stored.Of != 2 || !errors.Is(perr.Causes[x.id], wire.CodeTooFar) {
			t.Errorf("put: %v, %v", stored, err)
		}
	})
}

// contents makes content records, each with a value of that many bytes or a few
// more.
func contents(t *testing.T, count, size int) []*wire.Signed {
	t.Helper()
	records := make([]*wire.Signed, count)
	for i := range records {
		value := fmt.Appendf(make([]byte, size), "value %d", i)
		records[i] = signed(t, 1, wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: time.Now().Add(20 * time.Hour), Value: value})
	}
	return records
}
