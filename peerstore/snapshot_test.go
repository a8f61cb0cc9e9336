package peerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/kadquic/kadquic/wire"
)

// populated returns a store that knows: one peer met in every way, one with a
// record only, one that others told of, one of the user's that never answered.
func populated(t testing.TB) *Store {
	s := New(Options{})
	s.Add(id(1), SourceTold, noon, 0, addr(9))
	s.Add(id(1), SourceRecord, noon, 0, addr(1))
	s.Add(id(1), SourceDialled, noon, 0, addr(2))
	s.Add(id(1), SourceObserved, after(time.Second), 0, addr(3))
	s.Add(id(1), SourceUser, noon, -1, addr(4))
	s.Add(id(1), SourceDialled, after(-time.Second), 0, addr(4))
	s.Failure(id(1), addr(3), after(2*time.Second))
	s.ObserveRTT(id(1), 20*time.Millisecond)
	s.ObserveRTT(id(1), 40*time.Millisecond)
	s.SetMode(id(1), wire.ModeServer)
	s.SetAgent(id(1), "kad/1")
	r := peerRecord(t, 5, 1, noon)
	s.SetRecord(r.Record.Publisher, r)
	s.Add(id(3), SourceTold, noon, 0, addr(5))
	s.Add(id(4), SourceUser, noon, -1, addr(6))
	return s
}

func snapshot(t testing.TB, s *Store, now time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Snapshot(&b, now); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func load(t testing.TB, b []byte, now time.Time, o Options) *Store {
	t.Helper()
	s := New(o)
	if err := s.Load(bytes.NewReader(b), now); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotKeepsVerifiedAddresses(t *testing.T) {
	old := populated(t)
	s := load(t, snapshot(t, old, after(time.Minute)), after(2*time.Minute), Options{})
	if s.Len() != 2 {
		t.Errorf("%d peers came back, want the one met and the one with a record", s.Len())
	}
	got, _ := s.Peer(id(1))
	lease := after(24 * time.Hour)
	want := Info{
		ID: id(1), Mode: wire.ModeServer, Agent: "kad/1", RTT: 22500 * time.Microsecond, Seen: after(time.Second),
		Addrs: []AddrInfo{
			{Addr: addr(3), Source: SourceObserved, Expires: lease.Add(time.Second), Success: after(time.Second)},
			{Addr: addr(2), Source: SourceDialled, Expires: lease, Success: noon},
			// The user's word is not kept: it is for the user to say again.
			{Addr: addr(4), Source: SourceDialled, Expires: lease.Add(time.Minute), Success: after(-time.Second)},
			{Addr: addr(1), Source: SourceRecord, Expires: lease},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what came back of the peer that was met (-want +got):\n%s", d)
	}
	rtt, _ := s.RTT(id(1))
	if before, _ := old.RTT(id(1)); rtt != before {
		t.Errorf("round trips came back as %+v, were %+v", rtt, before)
	}
	r := peerRecord(t, 5, 1, noon)
	if back := s.Record(r.Record.Publisher); back == nil || !bytes.Equal(back.Payload, r.Payload) {
		t.Error("the signed record did not come back")
	}
}

// A node that was off for a week still knows peers after Load.
func TestOldAddressesGetALease(t *testing.T) {
	b := snapshot(t, populated(t), after(time.Minute))
	week := after(7 * 24 * time.Hour)
	s := load(t, b, week, Options{})
	if got := s.AppendAddrs(nil, id(1), week); !slices.Equal(got, addrs(3, 2, 4)) {
		t.Errorf("after a week the peer is at %v, want the addresses that were proved", got)
	}
	s.Prune(week.Add(time.Hour))
	if s.Len() != 0 {
		t.Errorf("%d peers known an hour later, though none was met", s.Len())
	}
}

// A clock that was ahead when the snapshot was made must not keep things for ever.
func TestSnapshotFromTheFuture(t *testing.T) {
	s := load(t, snapshot(t, populated(t), after(time.Minute)), after(-1000*time.Hour), Options{})
	info, _ := s.Peer(id(1))
	for _, a := range info.Addrs {
		if a.Success.After(after(-1000*time.Hour)) || a.Expires.After(after(-976*time.Hour)) {
			t.Errorf("loaded into the past: %+v", a)
		}
	}
	if info.Seen.After(after(-1000 * time.Hour)) {
		t.Errorf("seen in the future: %v", info.Seen)
	}
}

// jumped is t, of time.Now, as it would be after the wall clock was set by d, in
// whole seconds: the process's own clock goes on as if nothing were.
func jumped(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30 // 1 bit, 33 of seconds, 30 of nanoseconds
	return t
}

// Setting the wall clock while the process runs neither removes a peer nor keeps an
// entry for longer, also after a restart.
func TestWallClockJumps(t *testing.T) {
	for _, by := range []time.Duration{400 * 24 * time.Hour, -400 * 24 * time.Hour} {
		start := time.Now()
		s := New(Options{})
		s.Add(id(1), SourceDialled, start, time.Hour, addr(1))
		now := jumped(start.Add(time.Minute), by)
		s.Add(id(2), SourceDialled, now, time.Hour, addr(2))
		s.Prune(now)
		for i := range 2 {
			if got := s.AppendAddrs(nil, id(i+1), now); !slices.Equal(got, addrs(i+1)) {
				t.Errorf("peer %d after a jump by %v is at %v", i+1, by, got)
			}
		}
		loaded := load(t, snapshot(t, s, now), now.Round(0).Add(time.Minute), Options{}) // as another process
		info, ok := loaded.Peer(id(1))
		if want := now.Round(0).Add(minLease + time.Minute); !ok || info.Addrs[0].Expires.Sub(want).Abs() > time.Second {
			t.Errorf("after a restart the address ends at %+v, want %v", info.Addrs, want)
		}
		over := start.Add(62 * time.Minute)
		s.Prune(over)
		if s.Len() != 0 {
			t.Errorf("%d peers an hour later, after a jump by %v", s.Len(), by)
		}
	}
}

func TestLoadKeepsExistingEntries(t *testing.T) {
	b := snapshot(t, populated(t), after(time.Minute))
	now := after(2 * time.Hour)
	s := New(Options{MaxAddrs: 3})
	s.Add(id(1), SourceDialled, now, 0, addr(2))
	s.Add(id(1), SourceUser, now, -1, addr(8))
	s.Add(id(7), SourceDialled, now, 0, addr(7))
	if err := s.Load(bytes.NewReader(b), now); err != nil {
		t.Fatal(err)
	}
	if got := s.AppendVerified(nil, id(1)); !slices.Equal(got, addrs(2, 4)) {
		t.Errorf("verified %v: want the newer first, and not the one that had failed", got)
	}
	info, _ := s.Peer(id(1))
	if len(info.Addrs) != 3 || !info.Seen.Equal(now) {
		t.Errorf("of three places %+v are taken, seen %v", info.Addrs, info.Seen)
	}
	if _, ok := s.Peer(id(7)); !ok {
		t.Error("a peer known before was forgotten")
	}
}

func TestLoadKeepsTheHighestClass(t *testing.T) {
	s := New(Options{})
	for i := range 100 {
		s.Add(id(i), SourceDialled, after(time.Duration(i)*time.Second), 0, addr(i))
	}
	b := snapshot(t, s, after(time.Hour))
	if again := snapshot(t, load(t, b, after(time.Hour), Options{}), after(time.Hour)); !bytes.Equal(again, b) {
		t.Error("a snapshot of what was loaded differs from the first")
	}
	few := load(t, b, after(time.Hour), Options{MaxPeers: 10})
	for i := range 10 {
		if _, ok := few.Peer(id(99 - i)); !ok {
			t.Errorf("peer %d, met late, was left out; %d are known", 99-i, few.Len())
		}
	}
}

func TestDamagedSnapshotAddsNothing(t *testing.T) {
	b := snapshot(t, populated(t), after(time.Minute))
	try := func(what string, b []byte) {
		t.Helper()
		s := New(Options{})
		if err := s.Load(bytes.NewReader(b), after(time.Minute)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v, want ErrSnapshot", what, err)
		}
		if s.Len() != 0 {
			t.Errorf("%s: %d peers were added all the same", what, s.Len())
		}
	}
	for i := range b {
		try(fmt.Sprintf("cut after %d bytes", i), b[:i])
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		try(fmt.Sprintf("byte %d changed", i), bad)
	}
	try("one byte more", append(bytes.Clone(b), 0))
	// Malformed entries are refused even if the checksum is right.
	for i := len(snapshotMagic); i < len(b)-4; i++ {
		try(fmt.Sprintf("sealed anew after %d bytes", i), sealUnless(b, b[:i]))
	}
	huge := append([]byte(snapshotMagic), make([]byte, maxPeerSize+1)...)
	s := New(Options{MaxPeers: 1})
	if err := s.Load(bytes.NewReader(huge), noon); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a snapshot beyond all bounds: %v", err)
	}
}

// sealUnless returns body with its checksum; where whole peers are cut off the
// rest is a snapshot of fewer, and to damage it a byte is added.
func sealUnless(whole, body []byte) []byte {
	d := decoder{b: body[len(snapshotMagic):]}
	for len(d.b) > 0 && !d.bad {
		d.peer(noon, Options{MaxAddrs: maxAddrs, TTL: time.Hour})
	}
	b := bytes.Clone(body)
	if !d.bad {
		b = append(b, 0)
	}
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

func TestReadAndWriteErrorsAreReported(t *testing.T) {
	broken := errors.New("the disk is gone")
	s := New(Options{})
	b := snapshot(t, populated(t), noon)
	for _, at := range []int{0, 5, len(b) / 2} {
		r := io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(broken))
		if err := s.Load(r, noon); !errors.Is(err, broken) || errors.Is(err, ErrSnapshot) {
			t.Errorf("reading fails after %d bytes: %v", at, err)
		}
	}
	r, w := io.Pipe()
	r.CloseWithError(broken)
	if err := s.Snapshot(w, noon); !errors.Is(err, broken) {
		t.Errorf("writing fails: %v", err)
	}
}

// Load of any bytes neither panics nor exceeds the bounds, and the loaded entries can
// be saved and loaded again.
func FuzzLoad(f *testing.F) {
	f.Add(snapshot(f, populated(f), after(time.Minute)))
	f.Add([]byte(snapshotMagic))
	f.Add([]byte{})
	o := Options{MaxPeers: 4, MaxAddrs: 3}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(o)
		sealed := b
		if len(b) > 4 { // let the fuzzer see behind the checksum
			sealed = binary.BigEndian.AppendUint32(bytes.Clone(b[:len(b)-4]), checksum(b[:len(b)-4]))
		}
		if err := s.Load(bytes.NewReader(sealed), noon); err != nil {
			if s.Len() != 0 {
				t.Fatalf("%d peers after %v", s.Len(), err)
			}
			return
		}
		if s.Len() > o.MaxPeers {
			t.Fatalf("%d peers", s.Len())
		}
		for info := range s.All() {
			if len(info.Addrs) > o.MaxAddrs || len(info.Addrs) == 0 && info.Record == nil {
				t.Fatalf("%d addresses of %v", len(info.Addrs), info.ID)
			}
		}
		again := load(t, snapshot(t, s, noon), noon, o)
		if again.Len() > s.Len() {
			t.Fatalf("%d peers became %d", s.Len(), again.Len())
		}
	})
}
