package node

import (
	"errors"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A reply that its request does not allow is none.
func TestRepliesThatTheirRequestForbids(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[0], routing.KeyOf("key")
		var records []*wire.Signed
		for i := range wire.MaxRecords + 1 {
			records = append(records, signed(t, i, wire.Record{Kind: wire.KindOpen, Key: key, Expiry: time.Now().Add(time.Hour)}))
		}
		x := s.stranger(0)
		count := wire.MaxRecords
		x.join(n, func(_ wire.PeerID, m wire.Message) wire.Message {
			switch m := m.(type) {
			case wire.FindValue:
				return wire.Value{Records: records[:count]}
			case wire.Store:
				return wire.Stored{Results: make([]wire.Code, len(m.Records)+count-wire.MaxRecords)}
			case wire.FindNode:
				return wire.Nodes{}
			}
			return wire.Pong{}
		})
		if _, err := n.Get(within(t, time.Minute), key, nil); err != nil {
			t.Errorf("of %d records: %v", count, err)
		}
		if p, err := n.Put(within(t, time.Minute), key, nil, nil); err != nil || p.Count != 2 {
			t.Errorf("STORED with one result: %v, %v", p, err)
		}
		count++
		key = routing.KeyOf("other key")
		for i := range records {
			records[i] = signed(t, i, wire.Record{Kind: wire.KindOpen, Key: key, Expiry: time.Now().Add(time.Hour)})
		}
		if v, err := n.Get(within(t, time.Minute), key, nil); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnreachable) {
			t.Errorf("of %d records: got %+v, %v", count, v, err)
		}
		if p, err := n.Put(within(t, time.Minute), key, nil, nil); err != nil || p.Count != 1 {
			t.Errorf("STORED with two results for one record: %v, %v", p, err)
		}
	})
}

// "If it ends or is reset in either direction, the connection is closed" (SPEC.md
// §4): also when a peer only says that it reads no more, and nothing is sent to it.
func TestStopSendingEndsTheConnection(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		k := s.asker(0).meet(n)
		time.Sleep(time.Second)
		k.stream.CancelRead(0)
		start := time.Now()
		if code := k.closed(); code != wire.CloseNone {
			t.Errorf("closed with %d, want %d", code, wire.CloseNone)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		k = s.asker(1).open(n) // and before HELLO
		k.stream.CancelRead(0)
		k.stream.Write([]byte{50})
		start = time.Now()
		if code := k.closed(); code != wire.CloseNone || time.Since(start) > time.Second {
			t.Errorf("before HELLO: closed with %d after %v", code, time.Since(start))
		}
	})
}

func TestRecordsOfUnknownKindsAreNotWanted(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		k := s.asker(0).meet(s.nodes[0])
		var offer wire.Offer
		for kind := range 256 {
			if kind > 0 {
				offer.Records = append(offer.Records, wire.Offered{Kind: wire.Kind(kind), Key: routing.KeyOf("x")})
			}
		}
		m, ok := k.ask(offer).(wire.Wanted)
		for i, o := range offer.Records {
			if want := o.Kind.Known(); !ok || m.Has(i) != want {
				t.Errorf("%v: wanted %v, want %v", o.Kind, m.Has(i), want)
			}
		}
	})
}
