package client

import (
	"slices"

	"github.com/kadquic/kadquic/wire"
)

// maxLearned bounds the peers whose relays the user has told.
const maxLearned = 1024

// Learn notes that a peer may be reached through a relay, as the user says.
func (c *Client) Learn(peer, relay wire.PeerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.DeleteFunc(slices.Clone(c.learned[peer]), func(id wire.PeerID) bool { return id == relay })
	if len(known) == 0 && len(c.learned) >= maxLearned {
		for old := range c.learned { // any entry
			delete(c.learned, old)
			break
		}
	}
	known = slices.Insert(known, 0, relay)
	c.learned[peer] = known[:min(len(known), wire.MaxRelays)]
}

// RelaysOf returns the known relays through which a peer may be reached: relays named in the
// peer's own record, if this node has it, and relays that the user gave. Relays to which this
// node is connected come first: a call through another takes a handshake longer.
func (c *Client) RelaysOf(id wire.PeerID) []wire.PeerID {
	all := c.Host.RelaysInRecord(id)
	c.mu.Lock()
	all = append(slices.Clip(all), c.learned[id]...)
	c.mu.Unlock()
	var near, far []wire.PeerID
	for _, relay := range all {
		switch {
		case relay == c.Self || relay == id || slices.Contains(near, relay) || slices.Contains(far, relay):
		case c.Host.IsConnected(relay):
			near = append(near, relay)
		default:
			far = append(far, relay)
		}
	}
	return append(near, far...)
}
