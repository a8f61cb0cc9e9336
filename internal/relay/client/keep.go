package client

import (
	"context"
	"errors"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// retryInterval is how soon a silent relay is asked again when no other relay has answered
// either.
const retryInterval = time.Second

// start begins to keep a reservation, which the client holds already. A reservation that has
// migrated to its link is renewed at once. start returns false once the node closes.
func (c *Client) start(p *reservation, migrated bool) bool {
	c.Host.ReadDatagrams(p.link)
	release := p.link.Hold()
	if !c.Background.Go(func() {
		defer release()
		c.keep(p, migrated)
	}) {
		c.drop(p)
		release()
		return false
	}
	return true
}

// keep renews a reservation every 15 seconds, which also keeps the NAT's mapping. It returns
// when the connection ends, when the relay refuses, when it does not answer although another
// relay does, or when the reservation is not wanted any more. If no relay answers, this node
// has lost its network, perhaps briefly. If streams block the connection, the reservation
// migrates to another connection.
func (c *Client) keep(p *reservation, migrated bool) {
	timer := time.NewTimer(pulse)
	defer timer.Stop()
	if migrated {
		timer.Reset(0)
	}
	ctx := c.Background.Context()
	wanted := true
	var doubted bool     // another relay has answered since; this one is asked once more
	var silent time.Time // when the first unanswered request was sent; zero: all were answered
	for wanted {
		select {
		case <-timer.C:
			asked := time.Now()
			err := c.renew(ctx, p)
			switch {
			case err == nil:
				silent, doubted = time.Time{}, false
				timer.Reset(pulse)
				continue
			case errors.Is(err, c.NoAnswer):
				if silent.IsZero() {
					silent = asked
				}
				another := c.anotherAnswered(p, silent)
				if !another {
					c.replaceLink(p.link)
				}
				if !another || !doubted { // the other may have answered since the network was back
					doubted = another
					timer.Reset(retryInterval)
					continue
				}
				p.link.Close()
			case errors.Is(err, c.Stalled):
				ctx, cancel := context.WithTimeout(ctx, c.RPCTimeout)
				c.Connect(ctx, p.link.ID()) // the reservation migrates to the new link
				cancel()
				if !c.holds(p) {
					return
				}
			}
		case <-p.link.Done():
		case <-p.quit:
			if !c.holds(p) { // it has migrated
				return
			}
			wanted = false
			ctx, cancel := context.WithTimeout(ctx, c.RPCTimeout)
			p.link.Call(ctx, wire.Reserve{Release: true}) // after an error the relay drops it when it expires
			cancel()
		}
		break
	}
	if !c.drop(p) || ctx.Err() != nil {
		return
	}
	c.Logger.Info("no longer reached by a relay", "relay", p.link.ID(), "wanted", wanted)
	c.Host.ReservationsChanged()
	if wanted {
		c.Wake()
	}
}
