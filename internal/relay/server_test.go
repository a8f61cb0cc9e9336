package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A wireTap is the link of a peer: it keeps what is sent by it.
type wireTap struct {
	max   int
	full  bool
	got   [][]byte
	bytes int
}

func (w *wireTap) SendDatagram(b []byte) bool {
	if w.full || len(b) > w.MaxDatagram() {
		return false
	}
	w.bytes += len(b)
	if len(w.got) < 1000 {
		w.got = append(w.got, bytes.Clone(b))
	}
	return true
}

func (w *wireTap) MaxDatagram() int {
	if w.max == 0 {
		return 1195
	}
	return w.max
}

func net24(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(n >> 8), byte(n), 0}), 24)
}

func peerID(n int) (id wire.PeerID) {
	binary.BigEndian.PutUint32(id[:], uint32(n)|1<<31)
	return id
}

// to is a datagram for a peer.
func to(id wire.PeerID, content string) []byte {
	return Datagram{Kind: Whole, Peer: id, Content: []byte(content)}.Append(nil)
}

// said checks the last packet that a peer got, and its sender.
func (w *wireTap) said(t *testing.T, n int, from wire.PeerID, content string) {
	t.Helper()
	if len(w.got) != n {
		t.Fatalf("%d datagrams came, want %d", len(w.got), n)
	}
	d, ok := Parse(w.got[n-1])
	if !ok || !d.From || d.Peer != from || string(d.Content) != content {
		t.Fatalf("got %+v, want %q from %x", d, content, from[0])
	}
}

// pairOn is a relay with bob reserved and alice attached.
func pairOn(t *testing.T, l Limits) (s *Server, a, b *wireTap) {
	t.Helper()
	s, a, b = NewServer(l), &wireTap{}, &wireTap{}
	s.Attach(alice, net24(1), a)
	s.Attach(bob, net24(2), b)
	if life, err := s.Reserve(bob, noon); err != nil || life != time.Hour {
		t.Fatal(life, err)
	}
	return s, a, b
}

func TestCallOpensTheWay(t *testing.T) {
	s, a, b := pairOn(t, Limits{})

	// Without a call nothing passes, in either direction.
	s.Forward(bob, to(alice, "unasked"), noon)
	if len(a.got)+len(b.got) != 0 || s.Stats().Stray != 1 {
		t.Fatalf("%+v", s.Stats())
	}
	// What overtakes the call follows it.
	s.Forward(alice, to(bob, "early"), noon)
	if len(b.got) != 0 {
		t.Fatal("came before the call")
	}
	if l, err := s.Call(alice, bob, noon.Add(time.Millisecond)); err != nil || l != Link(b) {
		t.Fatal(l, err)
	}
	b.said(t, 1, alice, "early")
	s.Forward(alice, to(bob, "hello"), noon)
	b.said(t, 2, alice, "hello")
	s.Forward(bob, to(alice, "hello yourself"), noon)
	a.said(t, 1, bob, "hello yourself")
	s.Forward(bob, Datagram{From: true, Peer: alice, Content: []byte("as if relayed")}.Append(nil), noon)

	// A third peer is not part of it, and the caller cannot be called.
	c := &wireTap{}
	s.Attach(carol, net24(3), c)
	s.Forward(carol, to(alice, "psst"), noon)
	s.Forward(carol, to(bob, "psst"), noon)
	if _, err := s.Call(carol, alice, noon); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if _, err := s.Call(bob, bob, noon); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if len(a.got) != 1 || len(b.got) != 2 {
		t.Errorf("%d, %d came", len(a.got), len(b.got))
	}
	if st := s.Stats(); st.Flows != 1 || st.Calls != 1 || st.Packets != 3 || st.Bytes != int64(3*HeaderLen+len("early"+"hello"+"hello yourself")) {
		t.Errorf("%+v", st)
	}
}

// A flow lasts as long as it is used, for hours, and ends two minutes later.
func TestFlowLasts(t *testing.T) {
	s, _, b := pairOn(t, Limits{})
	s.Call(alice, bob, noon)
	now, n := noon, 0
	for range 300 {
		now, n = now.Add(119*time.Second), n+1
		s.Reserve(bob, now)
		s.Expire(now)
		s.Forward(alice, to(bob, "x"), now)
	}
	if st := s.Stats(); st.Packets != int64(n) || st.Flows != 1 {
		t.Fatalf("%+v of %d", st, n)
	}
	now = now.Add(121 * time.Second)
	s.Forward(alice, to(bob, "late"), now)
	if st := s.Stats(); st.Packets != int64(n) || st.Flows != 0 {
		t.Fatalf("%+v", st)
	}
	before := len(b.got)
	s.Call(alice, bob, now)
	b.said(t, before+1, alice, "late")
}

// A reservation ends with its time and with its connection; another connection
// of the same peer takes it over.
func TestReservationEnds(t *testing.T) {
	s, _, b := pairOn(t, Limits{})
	s.Call(alice, bob, noon)
	b2 := &wireTap{}
	s.Attach(bob, net24(9), b2)
	s.Detach(bob, b) // late news
	s.Forward(alice, to(bob, "there"), noon)
	b2.said(t, 1, alice, "there")

	s.Detach(bob, b2)
	s.Forward(alice, to(bob, "lost"), noon)
	if _, err := s.Call(alice, bob, noon); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	s.Attach(bob, net24(9), b2)
	s.Forward(alice, to(bob, "not reserved"), noon)
	s.Reserve(bob, noon)
	s.Forward(alice, to(bob, "again"), noon) // it has come back
	b2.said(t, 2, alice, "again")

	s.Release(bob)
	s.Release(bob)
	if s.Reserved(bob, noon) || s.Stats().Reservations != 0 {
		t.Error("released, and still there")
	}
	s.Reserve(bob, noon)
	if s.Reserved(bob, noon.Add(time.Hour)) {
		t.Error("it outlives its time")
	}
	s.Expire(noon.Add(time.Hour))
	if st := s.Stats(); st.Reservations != 0 || st.Flows != 0 {
		t.Errorf("%+v", st)
	}
	s.Detach(alice, nil)
	s.Forward(wire.PeerID{9}, to(bob, "who?"), noon)
	if _, err := s.Reserve(wire.PeerID{9}, noon); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

// A packet too long for the way out is cut, and comes together again.
func TestRelayCuts(t *testing.T) {
	s, _, b := pairOn(t, Limits{})
	s.Call(alice, bob, noon)
	packet := bytes.Repeat([]byte("x"), 1300)
	s.Forward(alice, to(bob, string(packet)), noon)
	if len(b.got) != 2 {
		t.Fatalf("%d datagrams", len(b.got))
	}
	var j Joiner
	for i, raw := range b.got {
		d, ok := Parse(raw)
		got, whole := j.Add(d)
		if !ok || !d.From || d.Peer != alice || whole != (i == 1) || whole && !bytes.Equal(got, packet) {
			t.Errorf("part %d: %v, %v, %d bytes", i, ok, whole, len(got))
		}
	}
	s.Forward(alice, Datagram{First, false, bob, 3, packet[:1200]}.Append(nil), noon)
	b.full = true
	s.Forward(alice, to(bob, "x"), noon)
	if st := s.Stats(); st.Lost != 2 || st.Packets != 1 {
		t.Errorf("%+v", st)
	}
}

// A thousand reservations asked from one network, and from many: the limits
// hold, and another peer gets a reservation that was released.
func TestReservationLimits(t *testing.T) {
	s := NewServer(Limits{})
	given := 0
	for i := range 1000 {
		s.Attach(peerID(i), net24(1), &wireTap{})
		for range 2 {
			if _, err := s.Reserve(peerID(i), noon); err == nil && s.Reserved(peerID(i), noon) {
				given++
			}
		}
	}
	if given != 16 || s.Stats().Reservations != 8 {
		t.Fatalf("%d given to one network", s.Stats().Reservations)
	}
	for i := range 1000 { // others are unharmed, as far as there is room
		s.Attach(peerID(5000+i), net24(2+i), &wireTap{})
		s.Reserve(peerID(5000+i), noon)
	}
	if st := s.Stats(); st.Reservations != 128 || st.Refused != 2*992+1000-120 {
		t.Fatalf("%+v", st)
	}
	s.Release(peerID(0))
	if _, err := s.Reserve(peerID(8), noon); err != nil {
		t.Error(err)
	}
	for i := range 1000 {
		s.Detach(peerID(i), s.peers[peerID(i)].link)
		s.Detach(peerID(5000+i), s.peers[peerID(5000+i)].link)
	}
	if st := s.Stats(); st.Reservations != 0 || len(s.peers)+len(s.networks)+len(s.flows) != 0 {
		t.Errorf("%+v, and %d peers, %d networks", st, len(s.peers), len(s.networks))
	}
}

// A flood through one pair, both ways at once, gets what one flow may have, and
// two who talk lose nothing.
func TestFloodThroughOnePair(t *testing.T) {
	s, a, b := pairOn(t, Limits{})
	c, d := &wireTap{}, &wireTap{}
	dave := wire.PeerID{4}
	s.Attach(carol, net24(1), c) // of the flooder's own network, even
	s.Attach(dave, net24(4), d)
	s.Reserve(dave, noon)
	s.Call(alice, bob, noon)
	s.Call(carol, dave, noon)
	packet := string(make([]byte, 1100))
	talk, offered := 0, 0
	const seconds = 60
	for ms := range seconds * 1000 {
		now := noon.Add(time.Duration(ms) * time.Millisecond)
		for range 5 { // 11 MB a second
			offered += 2 * 1133
			s.Forward(alice, to(bob, packet), now)
			s.Forward(bob, to(alice, packet), now)
		}
		if ms%50 == 0 {
			talk += 1133
			s.Forward(carol, to(dave, packet), now)
		}
	}
	l := Limits{}.WithDefaults()
	if most := l.FlowBurst + seconds*l.FlowRate; a.bytes+b.bytes > most || a.bytes+b.bytes < most*9/10 {
		t.Errorf("%d bytes of %d passed, want nearly %d", a.bytes+b.bytes, offered, most)
	}
	if d.bytes != talk {
		t.Errorf("%d bytes of %d that were said came", d.bytes, talk)
	}
	if st := s.Stats(); st.Limited != int64((offered-a.bytes-b.bytes)/1133) || st.Bytes != int64(a.bytes+b.bytes+d.bytes) {
		t.Errorf("%+v", st)
	}
}

// Many pairs flood from many networks: the relay stays within its rate, and a quiet pair loses
// nothing. The peers of one network share its limit.
func TestFloodOfManyPairs(t *testing.T) {
	for _, c := range []struct {
		name     string
		networks int
		most     int
	}{{"many networks", 40, 4<<20 + 10*4<<20}, {"one network", 1, 1<<20 + 10*1<<20}} {
		t.Run(c.name, func(t *testing.T) {
			s, _, b := pairOn(t, Limits{})
			s.Call(alice, bob, noon)
			taps := make([]*wireTap, 40)
			for i := range taps {
				taps[i] = &wireTap{}
				s.Attach(peerID(i), net24(100+i%c.networks), &wireTap{})
				s.Attach(peerID(1000+i), net24(200+i), taps[i])
				s.Reserve(peerID(1000+i), noon)
			}
			packet := string(make([]byte, 1100))
			talk := 0
			for ms := range 10000 {
				now := noon.Add(time.Duration(ms) * time.Millisecond)
				for i := range taps {
					if ms == i*500%10000 {
						s.Call(peerID(i), peerID(1000+i), now)
					}
					s.Forward(peerID(i), to(peerID(1000+i), packet), now)
				}
				if ms%50 == 0 {
					talk += 1133
					s.Forward(alice, to(bob, packet), now)
				}
			}
			flood := 0
			for _, tap := range taps {
				flood += tap.bytes
			}
			if flood > c.most || flood < c.most/2 {
				t.Errorf("%d bytes of floods passed, the limit is %d", flood, c.most)
			}
			if b.bytes != talk {
				t.Errorf("%d bytes of %d that were said came", b.bytes, talk)
			}
		})
	}
}

// Calls are limited by the network of the caller and by the callee.
func TestCallLimits(t *testing.T) {
	s, _, _ := pairOn(t, Limits{})
	answered := 0
	for range 1000 {
		if _, err := s.Call(alice, bob, noon); err == nil {
			answered++
		}
	}
	if answered != 32 {
		t.Errorf("%d calls from one network", answered)
	}
	for i := range 1000 {
		s.Attach(peerID(i), net24(10+i), &wireTap{})
		if _, err := s.Call(peerID(i), bob, noon); err == nil {
			answered++
		} else if !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	if answered != 64 {
		t.Errorf("%d calls to one peer", answered)
	}
	later := noon.Add(time.Second)
	for range 100 {
		if _, err := s.Call(alice, bob, later); err == nil {
			answered++
		}
	}
	if answered != 64+4 {
		t.Errorf("%d calls in the second after", answered-64)
	}
}

// Callers of one network cannot take all the room that there is for calls to one
// peer.
func TestOneNetworkLeavesRoom(t *testing.T) {
	s, _, _ := pairOn(t, Limits{NetworkCalls: 1000, NetworkCallBurst: 1000, PeerCalls: 1000, PeerCallBurst: 1000})
	calls := func(from, network int) (answered int) {
		for i := range 100 {
			s.Attach(peerID(from+i), net24(network), &wireTap{})
			if _, err := s.Call(peerID(from+i), bob, noon); err == nil {
				answered++
			} else if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
		}
		return answered
	}
	for n := range 4 {
		if got := calls(1000*n, 20+n); got != 16 {
			t.Errorf("network %d: %d of 100 may speak with one peer, want 16", n, got)
		}
	}
	if got := calls(9000, 30); got != 0 {
		t.Errorf("%d more than 64 speak with one peer", got)
	}
	// Existing flows go on, and when they end there is room again.
	if _, err := s.Call(peerID(0), bob, noon); err != nil {
		t.Error(err)
	}
	s.Expire(noon.Add(3 * time.Minute))
	if _, err := s.Call(peerID(9000), bob, noon.Add(3*time.Minute)); err != nil {
		t.Error(err)
	}
}

// However many peers say whatever, memory stays bounded.
func TestServerMemory(t *testing.T) {
	s, _, _ := pairOn(t, Limits{Reservations: 1 << 20, PeerFlows: 1 << 20, PeerCallBurst: 1 << 20})
	tap := &wireTap{full: true}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for i := range 512 { // as many as may connect
		s.Attach(peerID(i), net24(i), tap)
	}
	before := heap()
	flows := 0
	for n := range 200 {
		now := noon.Add(time.Duration(n) * 10 * time.Millisecond)
		for i := range 512 {
			s.Reserve(peerID(i), now)
			if _, err := s.Call(peerID(i), peerID((i+n+1)%512), now); err == nil {
				flows++
			}
			s.Forward(peerID(i), to(peerID((i+7*n)%512), string(make([]byte, 1100))), now)
		}
	}
	if st := s.Stats(); st.Flows > 512 || s.early > maxEarlyAll || flows == 0 {
		t.Errorf("%+v, %d early", st, s.early)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes", grown)
	}
	s.Expire(noon.Add(2 * time.Hour))
	if st := s.Stats(); st.Flows != 0 || st.Reservations != 0 || s.early != 0 {
		t.Errorf("%+v, %d early", st, s.early)
	}
}

// BenchmarkForward passes on one packet.
func BenchmarkForward(b *testing.B) {
	s := NewServer(Limits{FlowRate: 1 << 40, FlowBurst: 1 << 40, NetworkRate: 1 << 40, NetworkBurst: 1 << 40, Rate: 1 << 40, Burst: 1 << 40})
	s.Attach(alice, net24(1), &wireTap{})
	s.Attach(bob, net24(2), &nowhere{})
	s.Reserve(bob, noon)
	s.Call(alice, bob, noon)
	packet := to(bob, string(make([]byte, 1100)))
	raw := bytes.Clone(packet)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		copy(raw, packet[:HeaderLen])
		s.Forward(alice, raw, noon)
	}
	if s.Stats().Dropped() > 0 {
		b.Fatalf("%+v", s.Stats())
	}
}

// nowhere is the link of a peer that takes everything.
type nowhere struct{}

func (*nowhere) SendDatagram([]byte) bool { return true }
func (*nowhere) MaxDatagram() int         { return 1195 }
