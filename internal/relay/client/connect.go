package client

import (
	"context"
	"errors"

	"github.com/kadquic/kadquic/wire"
)

var errVirtual = errors.New("a peer that is itself reached through a relay cannot relay")

// Connect connects to a relay at its own addresses.
func (c *Client) Connect(ctx context.Context, relay wire.PeerID) (Link, error) {
	c.countDial(relay, 1)
	defer c.countDial(relay, -1)
	l, err := c.Host.Reach(ctx, relay)
	if err == nil && l.IsVirtual() {
		err = errVirtual
	}
	return l, err
}

// IsConnecting reports whether Connect is dialling a relay, which must not be called through
// another relay then.
func (c *Client) IsConnecting(relay wire.PeerID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials[relay] > 0
}

func (c *Client) countDial(relay wire.PeerID, k int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dials[relay] += k; c.dials[relay] <= 0 {
		delete(c.dials, relay)
	}
}
