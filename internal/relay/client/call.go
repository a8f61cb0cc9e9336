package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Call calls a peer through a relay, to which it connects if necessary, and returns the answer
// of the peer. The relay becomes a route to the peer when the call is sent. Call does not
// repeat a call, because a callee accepts the same call only once.
func (c *Client) Call(ctx context.Context, relay, peer wire.PeerID, offer []byte, padding int) (wire.Called, error) {
	called, err := c.call(ctx, relay, peer, offer, padding)
	if err != nil {
		return wire.Called{}, fmt.Errorf("call %s by %s: %w", peer, relay, err)
	}
	return called, nil
}

func (c *Client) call(ctx context.Context, relay, peer wire.PeerID, offer []byte, padding int) (wire.Called, error) {
	l, err := c.Host.Reach(ctx, relay)
	if err != nil {
		return wire.Called{}, err
	}
	if l.MaxDatagram() == 0 {
		return wire.Called{}, errNoDatagrams
	}
	c.SetRoute(peer, l)
	l.Touch()
	m, rtt, err := l.Call(ctx, wire.Call{Peer: peer, Offer: offer, Padding: padding})
	if err == nil {
		c.Host.Answered(l, wire.Call{}, rtt)
		if called, ok := m.(wire.Called); ok {
			c.ConfirmRoute(peer, l)
			return called, nil
		}
		err = c.Unexpected(relay, m)
	}
	// Without a reservation of the peer nothing passes. If the relay is only busy, the
	// route of an earlier call stays.
	if errors.Is(err, wire.CodeUnreachable) || errors.Is(err, wire.CodeUnimplemented) {
		c.dropRoute(peer, l)
	}
	return wire.Called{}, err
}

// HandleCall answers a call that a relay has forwarded to this node. It takes a while, so it
// does not run in the goroutine that reads.
func (c *Client) HandleCall(l Link, id uint64, m wire.Call, now time.Time) error {
	if !c.HasReservation(l.ID()) {
		return l.Refuse(id, wire.CodeUnreachable, "no reservation there")
	}
	if !c.Host.AllowCall(l, now) {
		return l.Refuse(id, wire.CodeBusy, "too many calls by one relay")
	}
	if !c.calls.TryGo(func() {
		answer, code := c.Host.Answer(l, m)
		if code != wire.CodeOK {
			l.Refuse(id, code, "")
			return
		}
		l.Reply(id, answer) // an error ends the link, which its reader sees
	}) {
		return l.Refuse(id, wire.CodeBusy, "too many calls")
	}
	return nil
}
