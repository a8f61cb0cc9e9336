package client

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// answersCalls answers CALL with m.
func answersCalls(m wire.Message) func(wire.Message) wire.Message {
	return func(wire.Message) wire.Message { return m }
}

func TestCallMakesARoute(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, answersCalls(wire.Called{Offer: []byte("yes")}))
		called, err := c.Call(t.Context(), l.ID(), peerID(100), []byte("may I?"), 10)
		if err != nil || string(called.Offer) != "yes" {
			t.Fatalf("%+v, %v", called, err)
		}
		uses(t, c, peerID(100), l)
		c.HandleDatagram(l, relay.Datagram{Peer: peerID(100), Content: []byte("x")})
		c.SetRoute(peerID(100), h.link(1, 2, grants))
		uses(t, c, peerID(100), l) // the answer has confirmed it
		if want := (wire.Call{Peer: peerID(100), Offer: []byte("may I?"), Padding: 10}); l.count(want) != 1 {
			t.Errorf("the relay gets %+v", l.got)
		}
	})
}

// A call that fails takes nothing away: packets go through the relay in use before, unless that
// is the one that holds no reservation of the peer any more.
func TestFailedCallLeavesTheRoute(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		good := h.link(0, 1, answersCalls(wire.Called{}))
		bad := h.link(1, 2, answersCalls(wire.Error{Code: wire.CodeUnreachable}))
		peer := peerID(100)
		call := func(l *fakeLink, want error) {
			t.Helper()
			if _, err := c.Call(t.Context(), l.ID(), peer, nil, 0); !errors.Is(err, want) {
				t.Errorf("call: %v, want %v", err, want)
			}
			uses(t, c, peer, good)
		}
		call(good, nil)
		call(bad, wire.CodeUnreachable)
		good.serveWith(answersCalls(wire.Error{Code: wire.CodeBusy}))
		call(good, wire.CodeBusy)
		good.serveWith(answersCalls(wire.Error{Code: wire.CodeUnreachable}))
		if _, err := c.Call(t.Context(), good.ID(), peer, nil, 0); err == nil {
			t.Error("no error")
		}
		if by, ok := c.Route(peer); ok {
			t.Errorf("a route through %v, where the peer has no reservation", by)
		}
		c.SetRoute(peer, good)
		good.serveWith(answersCalls(wire.Error{Code: wire.CodeUnimplemented}))
		if _, err := c.Call(t.Context(), good.ID(), peer, nil, 0); err == nil {
			t.Error("no error")
		}
		if by, ok := c.Route(peer); ok {
			t.Errorf("a route through %v, which does not relay any more", by)
		}
		mute := h.link(2, 3, grants)
		mute.max = 0
		if _, err := c.Call(t.Context(), mute.ID(), peer, nil, 0); !errors.Is(err, errNoDatagrams) {
			t.Error(err)
		}
	})
}

// The peer may have called through a relay of this node where it has no reservation itself.
func TestFailedCallLeavesTheRouteOfAnInboundCall(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		run(c)
		peer := peerID(100)
		c.SetRoute(peer, s[0])
		c.ConfirmRoute(peer, s[0])
		s[0].serveWith(answersCalls(wire.Error{Code: wire.CodeUnreachable}))
		if _, err := c.Call(t.Context(), s[0].ID(), peer, nil, 0); err == nil {
			t.Error("no error")
		}
		uses(t, c, peer, s[0])
	})
}

func TestForwardedCallsNeedAReservationAndASlot(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		s := h.servers(1, 2, 3)
		release := make(chan struct{})
		h.answer = func() (wire.Message, wire.Code) {
			<-release
			return wire.Called{}, wire.CodeOK
		}
		call := wire.Call{Peer: peerID(100), Passed: true}
		refused := func(want wire.Code) {
			t.Helper()
			c.HandleCall(s[0], 1, call, time.Now())
			answers := s[0].answers()
			if len(answers) == 0 {
				t.Fatal("no answer")
			}
			if e, ok := answers[len(answers)-1].(wire.Error); !ok || e.Code != want {
				t.Errorf("answer %+v, want %v", e, want)
			}
		}
		refused(wire.CodeUnreachable)
		run(c)
		h.allow = false
		refused(wire.CodeBusy)
		h.allow = true
		before := len(s[0].answers())
		for range maxCalls {
			c.HandleCall(s[0], 1, call, time.Now())
		}
		if len(s[0].answers()) != before {
			t.Fatal("a call is answered before the callee has")
		}
		refused(wire.CodeBusy)
		close(release)
		pass(time.Millisecond)
		if got := len(s[0].answers()); got != before+1+maxCalls {
			t.Errorf("%d answers, want %d", got, before+1+maxCalls)
		}
		h.answer = func() (wire.Message, wire.Code) { return nil, wire.CodeUnreachable }
		c.HandleCall(s[0], 1, call, time.Now())
		pass(time.Millisecond)
		if e, ok := s[0].answers()[before+1+maxCalls].(wire.Error); !ok || e.Code != wire.CodeUnreachable {
			t.Errorf("answer %+v", e)
		}
	})
}

func TestRelaysOfAPeer(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		peer, near := peerID(100), h.link(3, 1, grants)
		h.named = []wire.PeerID{peerID(1), peer, c.Self, peerID(2)}
		c.Learn(peer, peerID(2))
		c.Learn(peer, near.ID())
		if got, want := c.RelaysOf(peer), []wire.PeerID{near.ID(), peerID(1), peerID(2)}; !slices.Equal(got, want) {
			t.Errorf("relays %v, want %v: connected ones first, each once", got, want)
		}
		h.named = nil
		for i := range 2 * maxLearned {
			c.Learn(peerID(1000+i), peerID(1))
			c.Learn(peer, peerID(1000+i))
		}
		if got := c.RelaysOf(peer); len(c.learned) > maxLearned || len(got) > wire.MaxRelays {
			t.Errorf("%d peers learned, %d relays of one", len(c.learned), len(got))
		}
	})
}

// A relay must be reached at its own addresses: while it is dialled no call to it may go through
// another relay.
func TestRelaysAreNotReachedThroughRelays(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, h *fakeHost) {
		l := h.link(0, 1, grants)
		l.virtual = true
		if _, err := c.Connect(t.Context(), l.ID()); !errors.Is(err, errVirtual) {
			t.Error(err)
		}
		during := false
		h.redial = func(id wire.PeerID) *fakeLink {
			during = c.IsConnecting(id)
			return h.link(1, 1, grants)
		}
		if _, err := c.Connect(t.Context(), peerID(1)); err != nil || !during || c.IsConnecting(peerID(1)) {
			t.Errorf("connecting: %v during the dial, %v after it; %v", during, c.IsConnecting(peerID(1)), err)
		}
	})
}
