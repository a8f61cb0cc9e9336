package node

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// jumped is t, of time.Now, as it would be after the wall clock was set by d, in
// whole seconds: the process's own clock goes on as if nothing were.
func jumped(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30 // 1 bit, 33 of seconds, 30 of nanoseconds
	return t
}

// What others said of our clock counts until it is set.
func TestSkewsEndWithAJump(t *testing.T) {
	var s skew
	now := time.Now()
	for i := range 5 {
		s.observe(wire.PeerID{byte(i + 1)}, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), -48*time.Hour, now)
	}
	for _, d := range []time.Duration{time.Second, 24 * time.Hour} {
		if by, ok := s.median(now.Add(d)); !ok || by != -48*time.Hour {
			t.Errorf("%v later: %v, %v", d, by, ok)
		}
	}
	set := jumped(now.Add(time.Hour), -48*time.Hour)
	if by, ok := s.median(set); ok {
		t.Errorf("when the clock has been set: %v", by)
	}
	for i := range 3 {
		s.observe(wire.PeerID{byte(i + 1)}, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), time.Second, set)
	}
	if by, ok := s.median(set.Add(time.Hour)); !ok || by != time.Second {
		t.Errorf("as three say since: %v, %v", by, ok)
	}
}

// Whoever makes many identities in one network counts once.
func TestOneNetworkTellsOneClock(t *testing.T) {
	var s skew
	now := time.Now()
	for i := range 100 {
		s.observe(wire.PeerID{byte(i + 1)}, netip.AddrFrom4([4]byte{8, 8, 8, byte(i)}), time.Hour, now)
	}
	for i := range 100 { // and in one IPv6 /48, or behind 6to4 addresses of one host
		s.observe(wire.PeerID{byte(i + 1)}, netip.AddrFrom16([16]byte{0x2a, 0, 0, 1, 0, 1, 0, byte(i), 15: 1}), time.Hour, now)
		s.observe(wire.PeerID{byte(i + 1)}, netip.AddrFrom16([16]byte{0x20, 2, 9, 9, 9, 9, 0, byte(i), 15: 1}), time.Hour, now)
	}
	for i := range 5 {
		s.observe(wire.PeerID{200, byte(i)}, netip.AddrFrom4([4]byte{8, byte(i), byte(i), 1}), time.Second, now)
	}
	if by, ok := s.median(now); !ok || by != time.Second {
		t.Errorf("the median is %v, %v", by, ok)
	}
}

// A record that others refuse because of its time is not stored, though the node
// itself is one of the nearest and would take it: so it is tried again, and not for
// a day believed to be out.
func TestOurOwnClockDoesNotCount(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[1]
		ahead := signed(t, 1, wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf("x"), Value: []byte("x"), Seq: 1, Expiry: time.Now().Add(48 * time.Hour)})
		stored, err := n.publish(within(t, time.Minute), ahead, 0)
		if perr := (*PutError)(nil); !errors.As(err, &perr) || stored.Count != 0 || n.HasRecord(wire.KindOpen, routing.KeyOf("x")) {
			t.Errorf("%v, %v", stored, err)
		}
	})
}

// Who finds nothing, and has a clock that may be to blame, is told so.
func TestNotFoundByAWrongClock(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[0]
		for i := range 4 {
			n.skew.observe(idOf(testKey(i)), host(10+i).Addr(), time.Hour, time.Now())
		}
		_, err := n.Get(within(t, time.Minute), routing.KeyOf("x"), nil)
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "clock differs by 1h0m0s") {
			t.Errorf("get: %v", err)
		}
	})
}

// Peers that lie about their clocks do not end our publications.
func TestLiarsDoNotEndPublications(t *testing.T) {
	inSwarm(t, 3, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{RecordTTL: time.Hour})
		key := s.put(n, routing.KeyOf("x"), "x", PutOptions{}).Key
		for i := range 40 {
			x := s.stranger(10 + i)
			x.hello.Clock = time.Now().Add(time.Hour)
			x.hello.Mode = wire.ModeClient
			x.meet(n)
		}
		time.Sleep(3 * time.Hour)
		s.wantGet(s.nodes[1], key, GetOptions{}, "x")
	})
}
