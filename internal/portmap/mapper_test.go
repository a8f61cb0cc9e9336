package portmap

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeAsker is a scripted router that speaks one protocol.
type fakeAsker struct {
	mu       *sync.Mutex // guards all; of the test, but while it waits
	protocol Protocol
	deaf     bool
	slow     time.Duration
	refuses  error
	gives    time.Duration // lifetime; lifetime if zero
	outside  string
	lost     bool
	untold   bool

	maps, checks, unmaps int
	last                 wish
}

// wait is called with f.mu held, and unlocks it while it waits.
func (f *fakeAsker) wait(ctx context.Context) error {
	if f.deaf {
		f.slow = 3750 * time.Millisecond
	}
	after := time.After(f.slow)
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-after:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.isDeaf() {
		return errSilent
	}
	return nil
}

func (f *fakeAsker) isDeaf() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deaf
}

func (f *fakeAsker) probe(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wait(ctx)
}

func (f *fakeAsker) mapPort(ctx context.Context, w wish) (Mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.maps++
	f.last = w
	if err := errors.Join(f.wait(ctx), f.refuses); err != nil {
		return Mapping{}, err
	}
	f.lost = false
	if f.gives == 0 {
		f.gives = lifetime
	}
	return Mapping{f.protocol, w.inside, netip.MustParseAddrPort(f.outside), f.gives, time.Now()}, nil
}

func (f *fakeAsker) check(ctx context.Context, _ Mapping) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checks++
	if f.lost {
		return errLost
	}
	if err := f.wait(ctx); err != nil || !f.untold {
		return err
	}
	return errUntold
}

func (f *fakeAsker) unmap(ctx context.Context, _ wish) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unmaps++
	return f.wait(ctx)
}

var home = route{netip.MustParseAddr("192.168.1.7"), netip.MustParseAddr("192.168.1.1")}

// A house is a Mapper with its fake routers, in virtual time.
type house struct {
	*Mapper
	mu      sync.Mutex // of the test, but within run, stop and Release
	route   route
	noRoute error
	by      [protocols]*fakeAsker
	changes []Mapping
	stop    func()
}

func inHouse(t *testing.T, test func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{route: home}
		h.mu.Lock()
		for p := range protocols {
			h.by[p] = &fakeAsker{mu: &h.mu, protocol: p, outside: "26.1.0.1:4774", slow: time.Duration(p+1) * time.Millisecond}
		}
		h.Mapper = New(Config{
			Port: 4774,
			Changed: func(m Mapping) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.changes = append(h.changes, m)
			},
			route: func() (route, error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.route, h.noRoute
			},
			askers: func(route) (a [protocols]asker) {
				for p := range protocols {
					a[p] = h.by[p]
				}
				return a
			},
		})
		test(t, h)
		if h.stop != nil {
			h.stop()
		}
	})
}

// run starts the Mapper, and lets virtual time pass.
func (h *house) run(d time.Duration) {
	if h.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			h.Run(ctx)
		}()
		h.stop = func() {
			h.free(func() {
				cancel()
				<-ran
			})
		}
	}
	h.free(func() {
		time.Sleep(d)
		synctest.Wait()
	})
}

func (h *house) Release() { h.free(h.Mapper.Release) }

// free calls f with h.mu unlocked.
func (h *house) free(f func()) {
	h.mu.Unlock()
	defer h.mu.Lock()
	f()
}

func TestFirstThatWorks(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.by[PCP].deaf = true
		h.by[NATPMP].refuses = &ResultError{NATPMP, 2, "not authorized"}
		h.run(5 * time.Second)
		s := h.State()
		if s.Mapping.Protocol != UPnP || s.Mapping.Outside.String() != "26.1.0.1:4774" || s.Why != "" {
			t.Errorf("it has %v (%s), want the mapping by UPnP", s.Mapping, s.Why)
		}
		if got := s.Spoken(); !slices.Equal(got, []Protocol{NATPMP, UPnP}) {
			t.Errorf("the router speaks %v, want NAT-PMP and UPnP", got)
		}
		if len(h.changes) != 1 || h.changes[0] != s.Mapping {
			t.Errorf("it told of %v", h.changes)
		}
	})
}

func TestOneProtocolMaps(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.run(5 * time.Second)
		if s := h.State(); s.Mapping.Protocol != PCP || len(s.Spoken()) != 3 {
			t.Errorf("%v, speaks %v; want PCP, the fastest, of three", s.Mapping, s.Spoken())
		}
		if h.by[NATPMP].maps+h.by[UPnP].maps != 0 {
			t.Error("others map the port as well")
		}
	})
}

func TestRenewedAtHalfLife(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.by[PCP].gives = 10 * time.Minute // shorter than asked
		h.run(4*time.Minute + 50*time.Second)
		if h.by[PCP].maps != 1 {
			t.Fatalf("asked %d times within half of its life", h.by[PCP].maps)
		}
		h.run(40 * time.Second)
		if h.by[PCP].maps != 2 {
			t.Fatalf("asked %d times when half its life was over, want 2", h.by[PCP].maps)
		}
		h.run(3 * time.Hour)
		if s := h.State(); s.Mapping.IsZero() || h.by[PCP].maps < 30 || len(h.changes) != 1 {
			t.Errorf("after 3 hours %v (%s), asked %d times, changes %v", s.Mapping, s.Why, h.by[PCP].maps, h.changes)
		}
	})
}

func TestRouterRestarts(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.run(time.Minute)
		h.by[PCP].lost = true
		h.run(checkEvery + lookEvery)
		if h.by[PCP].maps != 2 || h.by[PCP].last.outside.String() != "26.1.0.1:4774" {
			t.Errorf("asked %d times, last for %v; want the same again", h.by[PCP].maps, h.by[PCP].last.outside)
		}
	})
}

func TestRouterHasAnotherAddress(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.run(time.Minute)
		h.by[PCP].lost, h.by[PCP].outside = true, "26.9.0.1:4774"
		h.run(checkEvery + lookEvery)
		if got := h.State().Mapping.Outside.String(); got != "26.9.0.1:4774" || len(h.changes) != 2 {
			t.Errorf("mapped %v, changes %v", got, h.changes)
		}
	})
}

// After a router has stopped answering one protocol, the Mapper tries the others.
func TestRouterFallsSilent(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.run(time.Minute)
		h.by[PCP].deaf = true
		h.run((maxSilent + 1) * checkEvery)
		if got := h.State().Mapping.Protocol; got != NATPMP {
			t.Errorf("mapped by %v, want NAT-PMP", got)
		}
		for _, a := range h.by {
			a.deaf = true
		}
		h.run((maxSilent + 1) * checkEvery)
		s := h.State()
		if !s.Mapping.IsZero() || !strings.Contains(s.Why, "speaks neither PCP nor NAT-PMP nor UPnP") {
			t.Errorf("%v, %q; want none", s.Mapping, s.Why)
		}
		h.by[UPnP].deaf, h.by[UPnP].slow = false, time.Millisecond
		h.run(maxRetry + lookEvery)
		if got := h.State().Mapping.Protocol; got != UPnP {
			t.Errorf("mapped by %v, want UPnP, which is back", got)
		}
	})
}

// The Mapper asks a router that maps nothing at growing intervals.
func TestRouterThatMapsNothing(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.by[PCP].deaf, h.by[UPnP].deaf = true, true
		h.by[NATPMP].refuses = &ResultError{NATPMP, 2, "not authorized"}
		h.run(24 * time.Hour)
		if n := h.by[NATPMP].maps; n < 24 || n > 60 {
			t.Errorf("asked %d times within a day", n)
		}
		if s := h.State(); s.Why != "NAT-PMP: the router refuses: not authorized (2)" {
			t.Errorf("it says %q", s.Why)
		}
	})
}

func TestMachineMoves(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.run(time.Minute)
		h.noRoute = errNoGateway
		h.run(lookEvery)
		if s := h.State(); !s.Mapping.IsZero() || s.Why != "there is no IPv4 gateway" {
			t.Errorf("without a network it has %v, %q", s.Mapping, s.Why)
		}
		h.noRoute, h.route = nil, route{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.1")}
		h.by[PCP].outside = "26.2.0.1:4774"
		h.run(lookEvery + time.Second)
		s := h.State()
		if s.Mapping.Outside.String() != "26.2.0.1:4774" || s.Mapping.Inside.String() != "10.0.0.9:4774" || s.Gateway.String() != "10.0.0.1" {
			t.Errorf("on another network it has %v by %v", s.Mapping, s.Gateway)
		}
		if h.by[PCP].unmaps != 0 {
			t.Error("it spoke to the new router of the old mapping")
		}
	})
}

// Without a mapping to ask for, the Mapper sends no packet.
func TestNothingIsSent(t *testing.T) {
	for name, change := range map[string]func(*house){
		"public":         func(h *house) { h.route.local = netip.MustParseAddr("25.1.0.1") },
		"another socket": func(h *house) { h.Mapper.config.Local = netip.MustParseAddr("192.168.9.1") },
		"no gateway":     func(h *house) { h.noRoute = errNoGateway },
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				change(h)
				h.run(time.Hour)
				s := h.State()
				if s.Answers != [protocols]Answer{} || s.Why == "" {
					t.Errorf("asked: %v, %q", s.Answers, s.Why)
				}
			})
		})
	}
}

func TestRelease(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.Release() // it never ran
		h.run(time.Minute)
		h.stop()
		h.Release()
		if h.by[PCP].unmaps != 1 || !h.State().Mapping.IsZero() {
			t.Errorf("%d unmapped, %v is left", h.by[PCP].unmaps, h.State().Mapping)
		}
	})
	inHouse(t, func(t *testing.T, h *house) {
		h.run(time.Minute)
		h.stop()
		h.by[PCP].deaf = true
		began := time.Now()
		h.Release()
		if took := time.Since(began); took > maxRelease {
			t.Errorf("a silent router held it for %v", took)
		}
	})
	inHouse(t, func(t *testing.T, h *house) { // ended while the router thinks
		h.by[NATPMP].deaf, h.by[UPnP].deaf, h.by[PCP].slow = true, true, time.Second
		h.run(1500 * time.Millisecond)
		h.stop()
		h.Release()
		if h.by[PCP].maps != 1 || h.by[PCP].unmaps != 1 {
			t.Errorf("%d mapped and %d unmapped", h.by[PCP].maps, h.by[PCP].unmaps)
		}
	})
}

func TestEpoch(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after    time.Duration
		seconds  uint32
		pcp, pmp bool
	}{
		{100 * time.Second, 1100, true, true},
		{100 * time.Second, 1094, true, true},   // drifts by a sixteenth
		{100 * time.Second, 1080, false, false}, // too slow
		{100 * time.Second, 1120, false, true},  // too fast
		{time.Second, 999, true, true},
		{time.Second, 990, false, false},
		{time.Hour, 5, false, false}, // has restarted
	} {
		var pcp, pmp epoch
		if !pcp.pcp(1000, t0) || !pmp.pmp(1000, t0) {
			t.Fatal("the first is refused")
		}
		if got := pcp.pcp(c.seconds, t0.Add(c.after)); got != c.pcp {
			t.Errorf("PCP: 1000, and after %v %d: %v", c.after, c.seconds, got)
		}
		if got := pmp.pmp(c.seconds, t0.Add(c.after)); got != c.pmp {
			t.Errorf("NAT-PMP: 1000, and after %v %d: %v", c.after, c.seconds, got)
		}
	}
}

func TestPublic(t *testing.T) {
	for a, want := range map[string]bool{
		"25.1.0.1": true, "192.168.1.1": false, "10.0.0.1": false, "172.16.0.1": false, "100.64.0.1": false,
		"0.0.0.0": false, "127.0.0.1": false, "169.254.1.1": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if got := isPublic(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s is public: %v", a, got)
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no mapping is public")
	}
}

// If a router cannot report on a mapping, each check renews it. Doubt renews it at once,
// but not repeatedly.
func TestRenewedOnDoubt(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.by[PCP].untold = true
		h.run(time.Second)
		h.run(10 * checkEvery)
		if n := h.by[PCP].maps; n < 8 || n > 11 {
			t.Errorf("asked %d times in %v", n, 10*checkEvery)
		}
		h.by[PCP].untold = false
		h.run(3 * checkEvery)
		n := h.by[PCP].maps
		for range 10 {
			h.free(h.Doubt)
			h.run(time.Second)
		}
		if got := h.by[PCP].maps - n; got != 1 {
			t.Errorf("asked %d times after ten doubts in ten seconds", got)
		}
		h.run(minDoubt)
		h.free(h.Doubt)
		h.run(time.Second)
		if got := h.by[PCP].maps - n; got != 2 {
			t.Errorf("asked %d times, want again after %v", got, minDoubt)
		}
	})
}
