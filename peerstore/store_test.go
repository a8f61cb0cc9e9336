package peerstore

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kadquic/kadquic/wire"
)

// noon is when the tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return noon.Add(d) }

// id returns the ith peer, addr the ith address: 10.0.0.0 + i, port 4774.
func id(i int) wire.PeerID {
	return wire.PeerID{byte(i + 1), byte((i + 1) >> 8), 31: 1}
}

func addr(i int) wire.Addr {
	return wire.AddrFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 4774))
}

func addrs(is ...int) []wire.Addr {
	var out []wire.Addr
	for _, i := range is {
		out = append(out, addr(i))
	}
	return out
}

// wantAddrs compares the order in which to dial peer 0.
func wantAddrs(t *testing.T, s *Store, now time.Time, want ...int) {
	t.Helper()
	if d := cmp.Diff(addrs(want...), s.AppendAddrs(nil, id(0), now)); d != "" {
		t.Errorf("addresses to dial (-want +got):\n%s", d)
	}
}

// infoOf returns what is known of an address of peer 0.
func infoOf(s *Store, at wire.Addr) AddrInfo {
	p, _ := s.Peer(id(0))
	i := slices.IndexFunc(p.Addrs, func(a AddrInfo) bool { return a.Addr == at })
	return p.Addrs[i]
}

func wantVerified(t *testing.T, s *Store, want ...int) {
	t.Helper()
	if d := cmp.Diff(addrs(want...), s.AppendVerified(nil, id(0))); d != "" {
		t.Errorf("verified addresses (-want +got):\n%s", d)
	}
}

func TestUnknownPeer(t *testing.T) {
	s := New(Options{})
	wantAddrs(t, s, noon)
	wantVerified(t, s)
	s.Failure(id(0), addr(1), noon)
	s.ObserveRTT(id(0), time.Millisecond)
	s.SetMode(id(0), wire.ModeServer)
	s.SetAgent(id(0), "x")
	if _, ok := s.Peer(id(0)); ok || s.Len() != 0 || s.Record(id(0)) != nil {
		t.Error("to speak of an unknown peer made it known")
	}
}

func TestInvalidInputAddsNothing(t *testing.T) {
	s := New(Options{})
	s.Add(wire.PeerID{}, SourceTold, noon, 0, addr(1))
	s.Add(id(0), SourceTold, noon, 0)
	s.Add(id(0), 0, noon, 0, addr(1))
	s.Add(id(0), 99, noon, 0, addr(1))
	if s.Len() != 0 {
		t.Errorf("%d peers known, want none", s.Len())
	}
	s.Add(id(0), SourceTold, noon, 0, "")
	wantAddrs(t, s, noon)
}

func TestBestAddressFirst(t *testing.T) {
	s := New(Options{})
	s.Add(id(0), SourceTold, after(0), 0, addr(1))
	s.Add(id(0), SourceTold, after(1), 0, addr(2))
	wantAddrs(t, s, noon, 2, 1) // the freshest of equals
	s.Add(id(0), SourceRecord, after(2), time.Hour, addr(3))
	wantAddrs(t, s, noon, 3, 2, 1) // its own word before others'
	s.Add(id(0), SourceObserved, after(3), 0, addr(4))
	s.Add(id(0), SourceDialled, after(4), 0, addr(1))
	wantAddrs(t, s, noon, 1, 4, 3, 2) // where it proved its key, the latest first
	s.Add(id(0), SourceUser, after(5), -1, addr(5))
	wantAddrs(t, s, noon, 5, 1, 4, 3, 2) // the user's word first
	wantVerified(t, s, 1, 4)
}

func TestFailedAddressWaitsOutItsBackOff(t *testing.T) {
	s := New(Options{})
	s.Add(id(0), SourceDialled, after(0), 0, addr(1))
	s.Add(id(0), SourceDialled, after(time.Second), 0, addr(2))
	s.Add(id(0), SourceUser, noon, 0, addr(3))
	s.Failure(id(0), addr(3), after(time.Minute))
	s.Failure(id(0), addr(2), after(time.Minute))
	wantAddrs(t, s, after(time.Minute), 1, 3, 2)
	wantVerified(t, s, 1, 2) // still verified, but others are better
	wantAddrs(t, s, after(time.Minute+6*time.Second), 3, 2, 1)

	s.Failure(id(0), addr(2), after(2*time.Minute))
	info := infoOf(s, addr(2))
	if info.Failures != 2 || !info.Retry.Equal(after(2*time.Minute+9*time.Second)) {
		t.Errorf("after its second failure: %+v, want a retry 5 s + 2² s later", info)
	}
	s.Add(id(0), SourceDialled, after(3*time.Minute), 0, addr(2))
	if info := infoOf(s, addr(2)); info.Failures != 0 || !info.Retry.IsZero() || !info.Failure.IsZero() {
		t.Errorf("a success left %+v", info)
	}
	wantVerified(t, s, 2, 1)
}

func TestBackoffIsCapped(t *testing.T) {
	last := time.Duration(0)
	for _, n := range []int{-1, 0, 1, 2, 10, 17, 18, 100, 1 << 40} {
		if b := Backoff(n); b < last || b > 5*time.Minute {
			t.Errorf("Backoff(%d) = %v after %v", n, b, last)
		} else {
			last = b
		}
	}
	if Backoff(0) != 0 || Backoff(1) != 6*time.Second || last != 5*time.Minute {
		t.Errorf("Backoff goes from %v over %v to %v", Backoff(0), Backoff(1), last)
	}
}

func TestAddressesExpire(t *testing.T) {
	s := New(Options{TTL: time.Hour})
	s.Add(id(0), SourceTold, noon, 0, addr(1))
	s.Add(id(0), SourceTold, noon, time.Minute, addr(2))
	s.Add(id(0), SourceUser, noon, -1, addr(3))
	wantAddrs(t, s, after(time.Minute-1), 3, 1, 2)
	wantAddrs(t, s, after(time.Minute), 3, 1)
	wantAddrs(t, s, after(time.Hour), 3)
	s.Prune(after(time.Hour))
	if p, _ := s.Peer(id(0)); len(p.Addrs) != 1 {
		t.Errorf("Prune left %+v", p.Addrs)
	}
	if n := s.Prune(after(1000 * time.Hour)); n != 0 || s.Len() != 1 {
		t.Errorf("Prune forgot %d peers; one is the user's, for good", n)
	}
	s.Add(id(1), SourceTold, noon, time.Minute, addr(1))
	if n := s.Prune(after(time.Minute)); n != 1 || s.Len() != 1 {
		t.Errorf("Prune forgot %d peers, want the one with no address left", n)
	}
}

// Two nodes that name a dead address to each other must not keep it alive.
func TestHearsayDoesNotExtendVerifiedAddresses(t *testing.T) {
	s := New(Options{})
	s.Add(id(0), SourceObserved, noon, time.Hour, addr(1))
	s.Add(id(0), SourceTold, after(30*time.Minute), 24*time.Hour, addr(1))
	s.Add(id(0), SourceRecord, after(30*time.Minute), 24*time.Hour, addr(1))
	s.Prune(after(time.Hour))
	wantVerified(t, s)
	s.Add(id(0), SourceDialled, noon, time.Hour, addr(2))
	s.Add(id(0), SourceObserved, after(30*time.Minute), time.Hour, addr(2))
	s.Prune(after(time.Hour))
	wantVerified(t, s, 2)
}

func TestFullListDropsTheWorst(t *testing.T) {
	s := New(Options{MaxAddrs: 4})
	s.Add(id(0), SourceDialled, noon, 0, addr(1))
	s.Add(id(0), SourceRecord, noon, 0, addr(2))
	s.Add(id(0), SourceTold, noon, time.Hour, addr(3))
	s.Add(id(0), SourceTold, noon, 2*time.Hour, addr(4))
	s.Add(id(0), SourceTold, noon, 3*time.Hour, addr(5))
	wantAddrs(t, s, noon, 1, 2, 5, 4) // hearsay displaces the oldest hearsay
	s.Failure(id(0), addr(5), noon)
	s.Add(id(0), SourceTold, noon, time.Hour, addr(6))
	wantAddrs(t, s, noon, 1, 2, 4, 6) // and, before that, what failed
	for i := range 100 {
		s.Add(id(0), SourceTold, noon, 24*time.Hour, addr(100+i))
	}
	if got := s.AppendAddrs(nil, id(0), noon); len(got) != 4 || got[0] != addr(1) || got[1] != addr(2) {
		t.Errorf("a flood of hearsay left %v", got)
	}
	for i := range 4 {
		s.Add(id(0), SourceDialled, after(time.Duration(1+i)), 0, addr(10+i))
	}
	wantVerified(t, s, 13, 12, 11, 10) // of those proved the oldest goes
	s.Add(id(0), SourceTold, noon, 0, addr(50))
	wantVerified(t, s, 13, 12, 11, 10)
	wantAddrs(t, s, noon, 13, 12, 11, 10)
}

// Among addresses that are known equally well, the least preferred makes room, whatever
// the order in which they came.
func TestFullListKeepsThePreferred(t *testing.T) {
	number := func(a wire.Addr) byte { ap, _ := a.AddrPort(); return ap.Addr().As4()[3] }
	for first := range 8 {
		s := New(Options{MaxAddrs: 3, Prefer: func(a, b wire.Addr) int { return int(number(a)) - int(number(b)) }})
		for i := range 8 {
			s.Add(id(0), SourceUser, after(time.Duration(i)*time.Second), 0, addr((first+3*i)%8))
		}
		got := s.AppendAddrs(nil, id(0), after(time.Minute))
		slices.SortFunc(got, func(a, b wire.Addr) int { return int(number(a)) - int(number(b)) })
		if d := cmp.Diff(addrs(0, 1, 2), got); d != "" {
			t.Errorf("beginning with %d:\n%s", first, d)
		}
	}
}

func TestHearsayNeverDisplacesVerifiedPeers(t *testing.T) {
	s := New(Options{MaxPeers: 80})
	for i := range 60 {
		s.Add(id(i), SourceDialled, after(time.Duration(i)), 0, addr(i))
	}
	for i := range 1000 {
		s.Add(id(1000+i), SourceTold, noon, 0, addr(i))
	}
	if s.Len() != 80 {
		t.Fatalf("%d peers, want 80", s.Len())
	}
	for i := range 60 {
		if _, ok := s.Peer(id(i)); !ok {
			t.Fatalf("peer %d, whom we met, was displaced by hearsay", i)
		}
	}
	for i := range 20 {
		if _, ok := s.Peer(id(1999 - i)); !ok {
			t.Errorf("peer %d, of whom we were told last, is not known", 1999-i)
		}
	}
}

func TestRoomStaysForHearsay(t *testing.T) {
	s := New(Options{MaxPeers: 80})
	for i := range 1000 {
		s.Add(id(i), SourceDialled, after(time.Duration(i)), 0, addr(i))
	}
	s.Add(id(925), SourceDialled, after(time.Hour), 0, addr(925)) // seen again, so not the next to go
	for i := range 10 {
		s.Add(id(2000+i), SourceTold, noon, 0, addr(i))
	}
	for i := range 10 {
		if len(s.AppendAddrs(nil, id(2000+i), noon)) != 1 {
			t.Errorf("no room for peer %d, just heard of, among those met", 2000+i)
		}
	}
	if _, ok := s.Peer(id(925)); !ok {
		t.Error("the peer seen latest was evicted")
	}
	if _, ok := s.Peer(id(926)); ok {
		t.Error("the longest unseen was kept instead")
	}
}

func TestUsersPeersAreNeverEvicted(t *testing.T) {
	s := New(Options{MaxPeers: 8})
	s.Add(id(0), SourceTold, noon, 0, addr(0))
	s.Add(id(0), SourceUser, noon, -1, addr(1))
	for i := range 100 {
		s.Add(id(1+i), SourceDialled, noon, 0, addr(i))
		s.Add(id(200+i), SourceTold, noon, 0, addr(i))
	}
	wantAddrs(t, s, noon, 1, 0)
	for i := range 100 {
		s.Add(id(400+i), SourceUser, noon, -1, addr(i))
	}
	if s.Len() != 8 {
		t.Errorf("%d peers, want 8 at most even of the user's", s.Len())
	}
}

func TestRTT(t *testing.T) {
	s := New(Options{})
	s.Add(id(0), SourceTold, noon, 0, addr(0))
	if _, ok := s.RTT(id(0)); ok {
		t.Error("an estimate without a sample")
	}
	s.ObserveRTT(id(0), 20*time.Millisecond)
	rtt, ok := s.RTT(id(0))
	if info, _ := s.Peer(id(0)); !ok || rtt.Smoothed() != 20*time.Millisecond || info.RTT != rtt.Smoothed() {
		t.Errorf("after one sample of 20ms: %v, %v; in Peer %v", rtt.Smoothed(), ok, info.RTT)
	}
}

// peerRecord signs a peer record of the ith test key.
func peerRecord(t testing.TB, i int, seq uint64, now time.Time) *wire.Signed {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("%032d", i)))
	value, err := wire.PeerInfo{Mode: wire.ModeServer, Addrs: addrs(i)}.Value()
	if err != nil {
		t.Fatal(err)
	}
	self := wire.PeerID(key.Public().(ed25519.PublicKey))
	r, err := wire.Sign(wire.Record{
		Kind: wire.KindPeer, Key: self.Key(), Seq: seq, Expiry: now.Add(time.Hour), Value: value,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewestRecordIsKept(t *testing.T) {
	s := New(Options{})
	first, second := peerRecord(t, 1, 1, noon), peerRecord(t, 1, 2, noon)
	who := first.Record.Publisher
	if !s.SetRecord(who, first) || !s.SetRecord(who, second) {
		t.Error("a newer record was refused")
	}
	if s.SetRecord(who, first) || s.SetRecord(who, second) {
		t.Error("an older record, or the same, was taken for newer")
	}
	if s.SetRecord(id(0), first) || s.SetRecord(who, nil) {
		t.Error("a record of another, or none, was taken")
	}
	if s.Record(who) != second {
		t.Error("the newest record is not the one kept")
	}
	if n := s.Prune(after(time.Hour)); n != 1 {
		t.Errorf("Prune dropped %d peers, want the one whose record has expired", n)
	}
}

func TestAgentIsCutAndCopied(t *testing.T) {
	s := New(Options{})
	s.Add(id(0), SourceTold, noon, 0, addr(0))
	s.SetAgent(id(0), strings.Repeat("a", 10*wire.MaxAgent))
	s.SetMode(id(0), wire.ModeClient)
	if info, _ := s.Peer(id(0)); len(info.Agent) != wire.MaxAgent || info.Mode != wire.ModeClient {
		t.Errorf("Peer says %d bytes of agent, mode %v", len(info.Agent), info.Mode)
	}
}

func TestAllBegins(t *testing.T) {
	s := New(Options{})
	s.Add(id(1), SourceTold, noon, time.Minute, addr(1))
	s.Add(id(2), SourceDialled, noon, 0, addr(2))
	s.Add(id(3), SourceUser, noon, 0, addr(3))
	s.Add(id(4), SourceDialled, noon, 0, addr(4))
	var got []wire.PeerID
	for info := range s.All() {
		got = append(got, info.ID)
		s.Prune(after(2 * time.Minute)) // of id(1): the store is not locked meanwhile, and this one does not come
	}
	if want := []wire.PeerID{id(3), id(4), id(2)}; !slices.Equal(got, want) {
		t.Errorf("All yields %v, want %v", got, want)
	}
	for range s.All() {
		break
	}
}

func TestSourcesPrint(t *testing.T) {
	var got []string
	for src := range SourceUser + 2 {
		got = append(got, src.String())
	}
	if want := "source 0 told record observed dialled user source 6"; strings.Join(got, " ") != want {
		t.Errorf("sources print as %q, want %q", got, want)
	}
}
