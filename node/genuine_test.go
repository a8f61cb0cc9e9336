package node

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// selfRecord is the peer record that a stranger signs.
func (x *stranger) selfRecord(seq uint64, life time.Duration) *wire.Signed {
	x.t.Helper()
	value, err := wire.PeerInfo{Mode: wire.ModeServer, Addrs: []wire.Addr{wire.AddrFrom(x.at)}}.Value()
	if err != nil {
		x.t.Fatal(err)
	}
	s, err := wire.Sign(wire.Record{Kind: wire.KindPeer, Seq: seq, Expiry: time.Now().Add(life), Value: value}, x.key)
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// altered is a record with some bytes of its payload replaced, signed by key, if
// there is one.
func altered(t *testing.T, s *wire.Signed, from, to []byte, key ed25519.PrivateKey) *wire.Signed {
	t.Helper()
	out := &wire.Signed{Payload: bytes.Replace(s.Payload, from, to, 1), Signature: s.Signature}
	if key != nil {
		out.Signature = [64]byte(ed25519.Sign(key, append([]byte("kadquic record v1\x00"), out.Payload...)))
	}
	out, err := wire.ParseSigned(wire.AppendSigned(nil, out))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A node that asks another for a peer takes the answerer for a liar if the record
// does not verify. So a record that came in HELLO is verified before it is told.
func TestPeerRecordsAreVerifiedBeforeTheyAreTold(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		asker := s.asker(99).meet(n)
		told := func(x *stranger) *wire.Signed {
			m, ok := asker.ask(wire.FindNode{Key: x.id.Key(), Count: 20}).(wire.Nodes)
			if !ok || len(m.Contacts) == 0 {
				t.Fatalf("asked for a peer, answered %+v", m)
			}
			return m.Record
		}
		for i, c := range []struct {
			name   string
			record func(x *stranger) *wire.Signed
		}{
			{"a wrong signature", func(x *stranger) *wire.Signed {
				r := x.selfRecord(1, time.Hour)
				r.Signature[5] ^= 1
				return r
			}},
			{"expired", func(x *stranger) *wire.Signed { return x.selfRecord(1, -time.Second) }},
			{"too far ahead", func(x *stranger) *wire.Signed { return x.selfRecord(1, 25*time.Hour) }},
			{"of another key", func(x *stranger) *wire.Signed {
				key := x.id.Key()
				return altered(t, x.selfRecord(1, time.Hour), key[:8], make([]byte, 8), x.key)
			}},
			{"of another publisher", func(x *stranger) *wire.Signed { return s.stranger(500).selfRecord(1, time.Hour) }},
			{"signed by another", func(x *stranger) *wire.Signed {
				return altered(t, x.selfRecord(1, time.Hour), nil, nil, testKey(1))
			}},
			{"that expires while it is known", func(x *stranger) *wire.Signed { return x.selfRecord(1, 2*time.Second) }},
		} {
			x := s.stranger(i)
			x.hello.Record = c.record(x)
			k := x.meet(n)
			go k.serve(func(wire.PeerID, wire.Message) wire.Message { return wire.Pong{} })
			time.Sleep(3 * time.Second)
			if r := told(x); r != nil {
				t.Errorf("%s: the record is passed on", c.name)
			}
			good := x.selfRecord(0, time.Hour)
			k.send(wire.Frame{Body: wire.Hello{Mode: wire.ModeServer, Record: good}})
			time.Sleep(time.Second)
			if r := told(x); r == nil || r.Signature != good.Signature {
				t.Errorf("%s: the good record that came then is not passed on", c.name)
			}
		}
	})
}

// The signature of a peer record is verified once, when the record is first passed on.
func TestPeerRecordsAreVerifiedOnce(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(0)
		x.hello.Record = x.selfRecord(1, time.Hour)
		asker := s.asker(1).meet(n)
		for range 5 {
			k := x.meet(n)
			go k.serve(func(wire.PeerID, wire.Message) wire.Message { return wire.Pong{} })
			time.Sleep(time.Second)
			for range 5 {
				if m, ok := asker.ask(wire.FindNode{Key: x.id.Key(), Count: 20}).(wire.Nodes); !ok || m.Record == nil {
					t.Fatalf("answered %+v", m)
				}
			}
		}
		if n.genuine.Checks() != 1 {
			t.Errorf("%d signatures checked, want 1", n.genuine.Checks())
		}
	})
}
