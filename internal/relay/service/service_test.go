package service

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fakeLink is a connection to a peer that answers calls as answer says, or not at all.
type fakeLink struct {
	id     wire.PeerID
	addr   netip.AddrPort
	max    int
	answer func(wire.Call) wire.Message

	mu      sync.Mutex
	calls   []wire.Call
	answers []wire.Message
	packets int
	held    int
	reading bool
}

func (l *fakeLink) ID() wire.PeerID             { return l.id }
func (l *fakeLink) RemoteAddr() netip.AddrPort  { return l.addr }
func (l *fakeLink) CurrentAddr() netip.AddrPort { return l.addr }
func (l *fakeLink) MaxDatagram() int            { return l.max }

func (l *fakeLink) SendDatagram([]byte) bool { l.packets++; return true }

func (l *fakeLink) Hold() func() {
	l.held++
	return func() { l.held-- }
}

func (l *fakeLink) Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error) {
	l.mu.Lock()
	l.calls = append(l.calls, m.(wire.Call))
	l.mu.Unlock()
	if answer := l.answer(m.(wire.Call)); answer != nil {
		return answer, 0, nil
	}
	<-ctx.Done()
	return nil, 0, errors.New("no answer")
}

func (l *fakeLink) Reply(_ uint64, m wire.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, m)
	return nil
}

func (l *fakeLink) Refuse(id uint64, code wire.Code, why string) error {
	return l.Reply(id, wire.Error{Code: code, Message: why})
}

// last returns the latest answer that the peer got, after the given number of answers.
func (l *fakeLink) last(t *testing.T, n int) wire.Message {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.answers) != n {
		t.Fatalf("%d answers, want %d", len(l.answers), n)
	}
	return l.answers[n-1]
}

type fakeHost struct{ relays, reserves bool }

func (h *fakeHost) Relays() bool              { return h.relays }
func (h *fakeHost) MayReserve(time.Time) bool { return h.reserves }
func (h *fakeHost) ReadDatagrams(l Link)      { l.(*fakeLink).reading = true }

// testService runs f in virtual time with a service, and links to two peers.
func testService(t *testing.T, f func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink)) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{relays: true, reserves: true}
		group := background.NewGroup()
		s := New(Config{Host: h, Background: group, RPCTimeout: 5 * time.Second})
		link := func(i byte) *fakeLink {
			called := func(wire.Call) wire.Message { return wire.Called{Offer: []byte("yes"), Padding: 7, Seen: "invented"} }
			return &fakeLink{id: wire.PeerID{i}, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{25, i, 1, 1}), 4774), max: 1200, answer: called}
		}
		f(t, s, h, link(1), link(2))
		group.Stop()
		group.Wait()
	})
}

// wantError checks the latest answer of n.
func (l *fakeLink) wantError(t *testing.T, n int, want wire.Code) {
	t.Helper()
	if e, ok := l.last(t, n).(wire.Error); !ok || e.Code != want {
		t.Errorf("answer %+v, want %v", e, want)
	}
}

func TestReservationHoldsTheConnectionUntilItEnds(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		reserve := func(n int) {
			t.Helper()
			s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
			if m, ok := bob.last(t, n).(wire.Reserved); !ok || m.Lifetime != time.Hour || m.Rate <= 0 || bob.held != 1 || !bob.reading {
				t.Errorf("%+v, held %d times, read: %v", m, bob.held, bob.reading)
			}
		}
		reserve(1)
		reserve(2)
		s.HandleReserve(bob, 1, wire.Reserve{Release: true}, time.Now())
		if m, ok := bob.last(t, 3).(wire.Reserved); !ok || m.Lifetime != 0 || bob.held != 0 || s.Reserved(bob.id, time.Now()) {
			t.Errorf("after the release: %+v, held %d times", m, bob.held)
		}
		reserve(4)
		time.Sleep(59 * time.Minute)
		if s.Tend(time.Now()); bob.held != 1 {
			t.Error("released before the reservation has expired")
		}
		time.Sleep(2 * time.Minute)
		if s.Tend(time.Now()); bob.held != 0 {
			t.Error("held after the reservation has expired")
		}
		reserve(5)
		if s.LinkEnded(bob); bob.held != 0 || s.Reserved(bob.id, time.Now()) || len(s.holds) != 0 {
			t.Error("a reservation outlives its connection")
		}
	})
}

// One network gets 8 reservations, but loopback, where tests and applications of one machine
// meet, is not limited as a network.
func TestNetworksAreLimited(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		for _, c := range []struct {
			network string
			want    int
		}{{"25.7.7.1:4774", 8}, {"127.0.0.1:4774", 20}} {
			granted := 0
			for i := range 20 {
				l := &fakeLink{id: wire.PeerID{9, byte(i), c.network[0]}, addr: netip.MustParseAddrPort(c.network), max: 1200}
				s.HandleReserve(l, 1, wire.Reserve{}, time.Now())
				if _, ok := l.last(t, 1).(wire.Reserved); ok {
					granted++
				}
			}
			if granted != c.want {
				t.Errorf("%d reservations for %s, want %d", granted, c.network, c.want)
			}
		}
	})
}

func TestNodeThatDoesNotRelayRefuses(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		h.reserves = false
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		bob.wantError(t, 1, wire.CodeUnimplemented)
		h.reserves, h.relays = true, false
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		bob.wantError(t, 2, wire.CodeUnimplemented)
		s.HandleCall(bob, 1, wire.Call{Peer: alice.id}, time.Now())
		bob.wantError(t, 3, wire.CodeUnimplemented)
		h.relays, bob.max = true, 0
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		bob.wantError(t, 4, wire.CodeUnimplemented)
		if bob.held != 0 || bob.reading {
			t.Error("the connection is held, or read")
		}
	})
}

// Either side learns where the relay sees the other, and nothing that the other says of that.
func TestCallIsForwarded(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		s.HandleCall(alice, 1, wire.Call{Peer: bob.id}, time.Now())
		alice.wantError(t, 1, wire.CodeUnreachable)
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		call := func(n int, answer wire.Message) {
			t.Helper()
			bob.answer = func(wire.Call) wire.Message { return answer }
			s.HandleCall(alice, 1, wire.Call{Peer: bob.id, Offer: []byte("may I?"), Padding: 9, Seen: "invented"}, time.Now())
			synctest.Wait()
		}
		call(2, wire.Called{Offer: []byte("yes"), Padding: 7, Seen: "invented"})
		if c := bob.calls[0]; c.Peer != alice.id || !c.Passed || string(c.Offer) != "may I?" || c.Padding != 9 || c.Seen != wire.AddrFrom(alice.addr) {
			t.Errorf("the callee gets %+v", c)
		}
		if c, ok := alice.last(t, 2).(wire.Called); !ok || string(c.Offer) != "yes" || c.Padding != 7 || c.Seen != wire.AddrFrom(bob.addr) {
			t.Errorf("the caller gets %+v", c)
		}
		call(3, wire.Error{Code: wire.CodeBusy, Message: "secret"})
		alice.wantError(t, 3, wire.CodeBusy)
		if e := alice.last(t, 3).(wire.Error); e.Message != "" {
			t.Errorf("the caller is told %q", e.Message)
		}
		call(4, wire.Pong{})
		alice.wantError(t, 4, wire.CodeUnreachable)
		call(5, nil)
		time.Sleep(callTimeout)
		synctest.Wait()
		alice.wantError(t, 5, wire.CodeUnreachable)
	})
}

// A private address means nothing outside its network, and stays there.
func TestPrivateAddressesAreNotTold(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		alice.addr = netip.MustParseAddrPort("192.168.1.5:4774")
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		s.HandleCall(alice, 1, wire.Call{Peer: bob.id}, time.Now())
		synctest.Wait()
		if got := bob.calls[0].Seen; got != "" {
			t.Errorf("a public callee is told %q", got)
		}
		if got := alice.last(t, 1).(wire.Called).Seen; got != wire.AddrFrom(bob.addr) {
			t.Errorf("the caller is told %q", got)
		}
		bob.addr = netip.MustParseAddrPort("192.168.1.6:4774")
		s.HandleCall(alice, 1, wire.Call{Peer: bob.id}, time.Now())
		synctest.Wait()
		if got := bob.calls[1].Seen; got != wire.AddrFrom(alice.addr) {
			t.Errorf("a neighbour is told %q", got)
		}
	})
}

// Calls that callees leave unanswered take a bounded number of slots, which come back.
func TestForwardedCallsAreBounded(t *testing.T) {
	testService(t, func(t *testing.T, s *Service, h *fakeHost, alice, bob *fakeLink) {
		for range maxForwarding {
			s.forwarding.TryAcquire()
		}
		s.HandleReserve(bob, 1, wire.Reserve{}, time.Now())
		s.HandleCall(alice, 1, wire.Call{Peer: bob.id}, time.Now())
		alice.wantError(t, 1, wire.CodeBusy)
		s.forwarding.Release()
		for i := range 3 {
			s.HandleCall(alice, 1, wire.Call{Peer: bob.id}, time.Now())
			synctest.Wait()
			if _, ok := alice.last(t, 2+i).(wire.Called); !ok {
				t.Errorf("call %d is answered by %+v", i, alice.answers[1+i])
			}
		}
	})
}
