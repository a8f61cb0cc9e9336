package node

import (
	"bytes"
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// reserve gets the stranger a reservation.
func (k *talk) reserve() {
	k.t.Helper()
	if m, ok := k.ask(wire.Reserve{}).(wire.Reserved); !ok || m.Lifetime != time.Hour || m.Rate <= 0 {
		k.t.Fatalf("RESERVE: %+v", m)
	}
}

// refusedWith checks that a request is answered with ERROR.
func (k *talk) refusedWith(m wire.Message, want wire.Code) {
	k.t.Helper()
	if e, ok := k.ask(m).(wire.Error); !ok || e.Code != want {
		k.t.Errorf("%T is answered by %+v, want %v", m, e, want)
	}
}

// request reads until the stranger gets a request.
func (k *talk) request() wire.Frame {
	k.t.Helper()
	k.stream.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		f, err := k.in.ReadFrame()
		if err != nil {
			k.t.Fatalf("stranger waits for a request: %v", err)
		}
		if f.IsRequest() {
			if _, ping := f.Body.(wire.Ping); ping {
				k.send(wire.Frame{ID: f.ID, Body: wire.Pong{}})
				continue
			}
			return f
		}
	}
}

// tell sends a relayed packet.
func (k *talk) tell(to wire.PeerID, content string) {
	k.t.Helper()
	b := relay.Datagram{Kind: relay.Whole, Peer: to, Content: []byte(content)}.Append(nil)
	if !k.conn.SendDatagram(b) {
		k.t.Fatal("a datagram is not sent")
	}
}

// hear returns the next relayed packet, or "" if there is none for a while.
func (k *talk) hear() (from wire.PeerID, content string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Second)
	defer cancel()
	b, err := k.conn.ReceiveDatagram(ctx)
	if err != nil {
		return wire.PeerID{}, ""
	}
	d, ok := relay.Parse(b)
	if !ok || !d.From {
		k.t.Fatalf("%x is not from a relay", b)
	}
	return d.Peer, string(d.Content)
}

// Alice calls Bob, who has a reservation, and they exchange packets. The relay tells each the
// other's address as it sees it, and ignores what either says of that.
func TestRelayForwardsACallAndPackets(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		r, alice, bob := s.nodes[0], s.stranger(0), s.stranger(1)
		b := bob.meet(r)
		b.reserve()
		a := alice.meet(r)

		// The packet overtakes the call, and is not lost.
		a.tell(bob.id, "first")
		a.send(wire.Frame{ID: 77, Body: wire.Call{Peer: bob.id, Offer: []byte("I am Alice"), Seen: addrOf(host(99)), Padding: 900}})
		f := b.request()
		call, ok := f.Body.(wire.Call)
		if !ok || call.Peer != alice.id || !call.Passed || string(call.Offer) != "I am Alice" || call.Padding != 900 || call.Seen != addrOf(alice.at) {
			t.Fatalf("Bob gets %+v", f.Body)
		}
		if from, what := b.hear(); from != alice.id || what != "first" {
			t.Errorf("Bob hears %q", what)
		}
		b.send(wire.Frame{ID: f.ID, Body: wire.Called{Offer: []byte("I am Bob"), Seen: addrOf(host(99)), Padding: 700}})
		called, ok := a.answer(77).(wire.Called)
		if !ok || string(called.Offer) != "I am Bob" || called.Padding != 700 || called.Seen != addrOf(bob.at) {
			t.Fatalf("Alice gets %+v", called)
		}
		b.tell(alice.id, "hello")
		if from, what := a.hear(); from != bob.id || what != "hello" {
			t.Errorf("Alice hears %q", what)
		}
		if st := r.Stats().Relay; st.Reservations != 1 || st.Flows != 1 || st.Calls != 1 || st.Packets != 2 || st.Dropped != 0 || st.Refused != 0 {
			t.Errorf("%+v", st)
		}

		// What Bob answers, or that he does not, Alice hears.
		for _, c := range []struct {
			answer wire.Message
			want   wire.Code
		}{{wire.Error{Code: wire.CodeBusy, Message: "not now"}, wire.CodeBusy}, {wire.Pong{}, wire.CodeUnreachable}, {nil, wire.CodeUnreachable}} {
			a.send(wire.Frame{ID: 78, Body: wire.Call{Peer: bob.id, Offer: []byte("again")}})
			began := time.Now()
			if f := b.request(); c.answer != nil {
				b.send(wire.Frame{ID: f.ID, Body: c.answer})
			}
			if e, ok := a.answer(78).(wire.Error); !ok || e.Code != c.want || e.Message != "" || time.Since(began) >= 5*time.Second {
				t.Errorf("after %+v Alice gets %+v, in %v", c.answer, e, time.Since(began))
			}
		}
		a.refusedWith(wire.Call{Peer: alice.id, Offer: []byte("myself")}, wire.CodeUnreachable)
		a.refusedWith(wire.Call{Peer: wire.PeerID{9}, Offer: []byte("nobody")}, wire.CodeUnreachable)
		// A node without a reservation there refuses a call that claims to be forwarded.
		a.refusedWith(wire.Call{Peer: bob.id, Offer: []byte("from Bob"), Passed: true}, wire.CodeUnreachable)

		if m, ok := b.ask(wire.Reserve{Release: true}).(wire.Reserved); !ok || m.Lifetime != 0 {
			t.Errorf("release: %+v", m)
		}
		a.refusedWith(wire.Call{Peer: bob.id, Offer: []byte("too late")}, wire.CodeUnreachable)
		a.tell(bob.id, "too late")
		if _, what := b.hear(); what != "" {
			t.Errorf("Bob hears %q without a reservation", what)
		}
	})
}

// A relay does not tell public peers the private address of a peer in its own network.
func TestRelayTellsNoPrivateAddress(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		r := s.nodes[0]
		inside := s.strangerAt(0, netip.MustParseAddrPort("192.168.1.5:4774"))
		neighbour := s.strangerAt(1, netip.MustParseAddrPort("192.168.1.6:4774"))
		outside := s.stranger(2)
		talks := map[*stranger]*talk{}
		for _, x := range []*stranger{inside, neighbour, outside} {
			talks[x] = x.meet(r)
			talks[x].reserve()
		}
		for _, c := range []struct {
			from, to       *stranger
			callee, caller wire.Addr // are told
		}{
			{inside, outside, "", addrOf(outside.at)},
			{outside, inside, addrOf(outside.at), ""},
			{inside, neighbour, addrOf(inside.at), addrOf(neighbour.at)},
		} {
			a, b := talks[c.from], talks[c.to]
			a.send(wire.Frame{ID: 50, Body: wire.Call{Peer: c.to.id, Offer: []byte("x")}})
			f := b.request()
			if got := f.Body.(wire.Call).Seen; got != c.callee {
				t.Errorf("%v calls %v, who is told %q, want %q", c.from.at, c.to.at, got, c.callee)
			}
			b.send(wire.Frame{ID: f.ID, Body: wire.Called{Offer: []byte("y")}})
			if got := a.answer(50).(wire.Called).Seen; got != c.caller {
				t.Errorf("%v calls %v, and is told %q, want %q", c.from.at, c.to.at, got, c.caller)
			}
		}
	})
}

// A node that does not relay answers UNIMPLEMENTED.
func TestNodesThatDoNotRelay(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		s.add(Config{NoRelay: true})
		s.add(Config{Mode: ModeClient})
		for i, n := range s.nodes[1:] {
			k := s.stranger(i).meet(n)
			k.refusedWith(wire.Reserve{}, wire.CodeUnimplemented)
			k.refusedWith(wire.Call{Peer: wire.PeerID{9}, Offer: []byte("x")}, wire.CodeUnimplemented)
			k.conn.SendDatagram([]byte("to whomever"))
		}
	})
}

// A connection of a peer with a reservation stays open while it is idle. Another is closed.
func TestReservationsKeepConnections(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		r := s.nodes[0]
		with, without := s.stranger(0).meet(r), s.stranger(1).meet(r)
		with.reserve()
		without.ask(wire.Ping{})
		time.Sleep(30 * time.Minute)
		if with.conn.Err() != nil || without.conn.Err() == nil {
			t.Errorf("with a reservation: %v; without: %v", with.conn.Err(), without.conn.Err())
		}
		time.Sleep(time.Hour) // it is not renewed, and ends
		if st := r.Stats().Relay; st.Reservations != 0 || with.conn.Err() == nil {
			t.Errorf("%+v, %v", st, with.conn.Err())
		}
		k := s.stranger(2).meet(r)
		k.reserve()
		k.conn.Close(0, "")
		time.Sleep(time.Second)
		if st := r.Stats().Relay; st.Reservations != 0 {
			t.Errorf("a reservation outlives its connection: %+v", st)
		}
	})
}

// Two hundred reservations (a thousand with -life.long) are asked from one address, and one pair floods: the
// node's limits hold, its requests are answered, and another pair loses nothing.
func TestRelayUnderAbuse(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		r := s.nodes[0]
		given := 0
		for i := range longOr(1000, 200) {
			at := netip.AddrPortFrom(netip.MustParseAddr("25.7.7.7"), uint16(10000+i))
			x := s.strangerAt(10+i, at)
			k := x.meet(r)
			switch m := k.ask(wire.Reserve{}).(type) {
			case wire.Reserved:
				given++
			case wire.Error:
				if m.Code != wire.CodeBusy {
					t.Fatalf("RESERVE: %+v", m)
				}
				k.conn.Close(0, "")
			}
		}
		if given != 8 || r.Stats().Relay.Reservations != 8 {
			t.Fatalf("%d reservations for one address, %+v", given, r.Stats().Relay)
		}

		pair := func(i int) (a, b *talk) {
			x, y := s.stranger(i), s.stranger(i+1)
			x.hello.Mode, y.hello.Mode = wire.ModeClient, wire.ModeClient // clients are not pinged
			a, b = x.meet(r), y.meet(r)
			b.reserve()
			a.send(wire.Frame{ID: 50, Body: wire.Call{Peer: y.id, Offer: []byte("x")}})
			f := b.request()
			b.send(wire.Frame{ID: f.ID, Body: wire.Called{Offer: []byte("y")}})
			a.answer(50)
			return a, b
		}
		flooder, flooded := pair(2000)
		talker, listener := pair(2010)
		before := r.Stats().Relay
		var got, heard atomic.Int64 // bytes
		count := func(k *talk, n *atomic.Int64) {
			for {
				b, err := k.conn.ReceiveDatagram(context.Background())
				if err != nil {
					return
				}
				n.Add(int64(len(b)))
			}
		}
		go count(flooded, &got)
		go count(listener, &heard)
		seconds := longOr(20, 8)
		packet := bytes.Repeat([]byte("x"), 1000)
		datagram := func(to *talk) []byte {
			return relay.Datagram{Kind: relay.Whole, Peer: wire.PeerID(to.conn.Transport().PublicKey()), Content: packet}.Append(nil)
		}
		flood, talk := datagram(flooded), datagram(listener)
		said := 0
		for ms := range seconds * 1000 {
			flooder.conn.SendDatagram(flood) // 1 MB a second
			if ms%50 == 0 && talker.conn.SendDatagram(talk) {
				said += len(talk)
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := s.nodes[1].Ping(within(t, time.Minute), r.ID()); err != nil {
			t.Errorf("the relay does not answer: %v", err)
		}
		time.Sleep(time.Second)
		l := relay.Limits{}.WithDefaults()
		if most := int64(l.FlowBurst + (seconds+1)*l.FlowRate); got.Load() > most || got.Load() < most/2 {
			t.Errorf("%d bytes of the flood passed, want nearly %d", got.Load(), most)
		}
		if heard.Load() != int64(said) || said == 0 {
			t.Errorf("%d bytes of %d that were said came", heard.Load(), said)
		}
		st := r.Stats().Relay
		if st.Bytes-before.Bytes != got.Load()+heard.Load() || st.Dropped < int64(250*seconds) {
			t.Errorf("%+v, came %d and %d", st, got.Load(), heard.Load())
		}
		t.Logf("flood: %d kB of %d kB passed; %+v", got.Load()>>10, seconds*1000*len(flood)>>10, st)
	})
}

func addrOf(ap netip.AddrPort) wire.Addr { return wire.AddrFrom(ap) }

// A relay counts all IPv6 networks of one /48 as one.
func TestManyNetworksOfOneSite(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		given := 0
		for i := range 20 {
			at := netip.AddrFrom16([16]byte{0x26, 1, 5: 1, 7: byte(i), 15: 1}) // a /64 each
			if _, ok := s.strangerAt(10+i, netip.AddrPortFrom(at, 4774)).meet(s.nodes[0]).ask(wire.Reserve{}).(wire.Reserved); ok {
				given++
			}
		}
		if given != 8 {
			t.Errorf("%d reservations in one /48, want 8", given)
		}
		at := netip.AddrFrom16([16]byte{0x26, 1, 5: 2, 15: 1})
		s.strangerAt(40, netip.AddrPortFrom(at, 4774)).meet(s.nodes[0]).reserve()
	})
}
