package node

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Garbage, or too much of anything, costs its sender the connection at most:
// the node, and all others' connections to it, live on.
func TestGarbageStopsNothing(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		x := s.stranger(1)
		good := s.stranger(2).meet(n)
		noise := make([]byte, 3000)
		for i := range noise {
			noise[i] = byte(s.rand.Uint32())
		}
		frame := func(body []byte) []byte { return append(protowire.AppendVarint(nil, uint64(len(body))), body...) }

		for _, c := range []struct {
			name string
			act  func() *talk
			want uint64
		}{
			{"noise instead of HELLO", func() *talk {
				k := x.open(n)
				k.write(append([]byte{0x80, 0x80, 0x80, 0x80}, noise...))
				return k
			}, wire.CloseProtocol},
			{"PING instead of HELLO", func() *talk {
				k := x.open(n)
				k.send(wire.Frame{ID: 1, Body: wire.Ping{}})
				return k
			}, wire.CloseProtocol},
			{"noise after HELLO", func() *talk {
				k := x.meet(n)
				k.write(append([]byte{0x80, 0x80, 0x80, 0x80}, noise...))
				return k
			}, wire.CloseProtocol},
			{"a frame that is not protobuf", func() *talk {
				k := x.meet(n)
				k.write(frame(bytes.Repeat([]byte{0xff}, 40)))
				return k
			}, wire.CloseProtocol},
			{"a frame of no bytes", func() *talk {
				k := x.meet(n)
				k.write([]byte{0})
				return k
			}, wire.CloseProtocol},
			{"a frame too large", func() *talk {
				k := x.meet(n)
				k.write(protowire.AppendVarint(nil, wire.MaxFrame+1))
				return k
			}, wire.CloseProtocol},
			{"a gigantic frame", func() *talk {
				k := x.meet(n)
				k.write(protowire.AppendVarint(nil, 1<<62))
				return k
			}, wire.CloseProtocol},
			{"half a frame, and the end", func() *talk {
				k := x.meet(n)
				k.write(append([]byte{100}, noise[:50]...))
				k.stream.CloseWrite()
				return k
			}, wire.CloseNone},
			{"a reset", func() *talk {
				k := x.meet(n)
				k.stream.Reset(77)
				return k
			}, wire.CloseNone},
			{"no HELLO at all", func() *talk {
				k := x.open(n)
				k.write([]byte{100}) // of a frame that never comes
				return k
			}, wire.CloseNone},
		} {
			if got := c.act().closed(); got != c.want {
				t.Errorf("%s: closed with %d, want %d", c.name, got, c.want)
			}
			if _, ok := good.ask(wire.Ping{}).(wire.Pong); !ok {
				t.Fatalf("%s: another peer's connection does not work any more", c.name)
			}
		}

		// Packets that are not QUIC.
		socket := s.net.Listen(host(2000))
		for range 100 {
			socket.WriteTo(noise[:rand.IntN(1200)], net.UDPAddrFromAddrPort(host(0)))
		}
		s.getAll(0, s.putAll(5))
	})
}

// A frame of unknown type, or whose body breaks a rule, is answered, and does not affect later
// frames (SPEC.md).
func TestInvalidRequestsAreAnswered(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		k := s.stranger(0).meet(s.nodes[0])
		body := func(id uint64, num protowire.Number, b []byte) []byte {
			f := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), id)
			f = protowire.AppendBytes(protowire.AppendTag(f, num, protowire.BytesType), b)
			return append(protowire.AppendVarint(nil, uint64(len(f))), f...)
		}
		wantCode := func(what string, m wire.Message, want wire.Code) {
			t.Helper()
			if e, ok := m.(wire.Error); !ok || e.Code != want {
				t.Errorf("%s: answered %#v, want %v", what, m, want)
			}
		}
		shortKey := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte("short"))
		k.write(body(5, 6, shortKey)) // FIND_NODE
		wantCode("a key of 5 bytes", k.answer(5), wire.CodeBadRequest)
		k.write(body(6, 10, nil)) // STORE
		wantCode("STORE of nothing", k.answer(6), wire.CodeBadRequest)
		k.write(body(7, 42, []byte("what might this be")))
		wantCode("a request of the future", k.answer(7), wire.CodeUnimplemented)
		m := k.ask(wire.FindValue{Key: routing.KeyOf("x"), Kind: 99, Count: 1})
		wantCode("a kind of the future", m, wire.CodeUnimplemented)
		if _, ok := k.ask(wire.Ping{}).(wire.Pong); !ok {
			t.Error("the connection does not work any more")
		}
	})
}

// The ancestor had a message that ended whoever received it. Ours has none:
// every type of body there may be, empty and filled with noise, with and
// without an id.
func TestNoRemoteKill(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		x := s.stranger(0)
		k := x.meet(n)
		for num := range protowire.Number(64) {
			for _, id := range []uint64{0, uint64(num) + 100} {
				for _, content := range [][]byte{nil, bytes.Repeat([]byte{0x0a, 0x01, 0x07}, 30)} {
					select {
					case <-k.conn.Done(): // a rule broken may end the connection
						k = x.meet(n)
					default:
					}
					f := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), id)
					if num > 1 {
						f = protowire.AppendBytes(protowire.AppendTag(f, num, protowire.BytesType), content)
					}
					k.stream.Write(append(protowire.AppendVarint(nil, uint64(len(f))), f...))
					time.Sleep(25 * time.Millisecond)
				}
			}
		}
		if err := n.running(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.nodes[1].Ping(within(t, time.Minute), n.ID()); err != nil {
			t.Errorf("after all of them: %v", err)
		}
		if _, ok := x.meet(n).ask(wire.Ping{}).(wire.Pong); !ok {
			t.Error("the node does not answer their sender any more")
		}
	})
}

// Unsolicited replies are ignored, also those with the number of a pending request to another
// peer.
func TestUnsolicitedRepliesAreIgnored(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		k := s.stranger(0).meet(n)
		bogus := wire.Contact{ID: s.stranger(1).id, Addrs: []wire.Addr{wire.AddrFrom(strangerHost(1))}}
		for id := range uint64(50) {
			k.send(wire.Frame{ID: id, Body: wire.Pong{}})
			k.send(wire.Frame{ID: id, Body: wire.Nodes{Contacts: []wire.Contact{bogus}}})
			k.send(wire.Frame{ID: id, Body: wire.Value{Contacts: []wire.Contact{bogus}}})
			k.send(wire.Frame{ID: id, Body: wire.Stored{Results: []wire.Code{wire.CodeOK}}})
			k.send(wire.Frame{ID: id, Body: wire.Error{Code: wire.CodeInternal}})
		}
		if _, ok := k.ask(wire.Ping{}).(wire.Pong); !ok {
			t.Error("the connection does not work any more")
		}
		if addrs := n.peers.AppendAddrs(nil, bogus.ID, time.Now()); len(addrs) > 0 {
			t.Errorf("the node has learned %v from a reply to nothing", addrs)
		}
		s.getAll(0, s.putAll(3))
	})
}

// A peer that sends requests and reads no answers loses its connection once a megabyte of answers
// waits, so that it cannot fill the memory.
func TestUnreadRepliesEndTheConnection(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		key := routing.KeyOf("popular")
		for i := range wire.MaxRecords {
			_, err := n.Put(t.Context(), key, make([]byte, wire.MaxValue), &PutOptions{Publisher: testKey(i)})
			if err != nil {
				t.Fatal(err)
			}
		}
		k := s.stranger(0).meet(n)
		out := wire.NewWriter(k.stream)
		for id := range uint64(100) { // 33 kB of answer each
			if out.WriteFrame(wire.Frame{ID: id + 1, Body: wire.FindValue{Key: key, Kind: wire.KindOpen}}) != nil {
				break
			}
		}
		if got := k.closed(); got != wire.CloseBusy {
			t.Errorf("closed with %d, want %d", got, wire.CloseBusy)
		}
		if _, ok := s.stranger(1).meet(n).ask(wire.Ping{}).(wire.Pong); !ok {
			t.Error("the node does not answer any more")
		}
	})
}

// Requests of a peer beyond 50 per second, with a burst of 200, are refused.
func TestTooManyRequestsAreRefused(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		x := s.stranger(0)
		x.hello.Mode = wire.ModeClient // asked nothing
		k := x.meet(s.nodes[0])
		count := func() (served, refused int) {
			for range 300 {
				switch m := k.ask(wire.Ping{}).(type) {
				case wire.Pong:
					served++
				case wire.Error:
					refused++
					if m.Code != wire.CodeBusy {
						t.Fatalf("refused with %v", m)
					}
				}
			}
			return served, refused
		}
		if served, refused := count(); served != 200 || refused != 100 {
			t.Errorf("at once: %d served, %d refused; want 200, 100", served, refused)
		}
		time.Sleep(time.Second)
		if served, _ := count(); served != 50 {
			t.Errorf("a second later: %d served, want 50", served)
		}
	})
}
