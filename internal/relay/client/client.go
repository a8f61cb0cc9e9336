// Package client is a node's own use of relays: reservations at relays, through which peers
// reach a node behind a NAT, and routes to peers through their relays. The server side is
// package service.
package client

import (
	"sync"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/wire"
)

// maxCalls bounds the calls to this node that are being answered.
const maxCalls = 64

// A Client holds reservations and routes. Make it with [New]. Goroutines may share it.
type Client struct {
	Config

	calls *background.Slots // one for each inbound call that is being answered
	wake  background.Wake   // check the reservations now

	mu           sync.Mutex // guards the rest; no function of the host is called while it is held
	relays       map[Link]*relayState
	reservations []*reservation
	routes       map[wire.PeerID]*route
	learned      map[wire.PeerID][]wire.PeerID // relays of peers, from addresses that the user gave
	dials        map[wire.PeerID]int           // dials of relays under way
	searching    bool                          // asking for reservations
}

// New makes a Client without reservations. It starts nothing: the node runs [Client.Run], and
// [Client.Tend] every few seconds.
func New(c Config) *Client {
	return &Client{
		Config:  c,
		calls:   c.Background.Slots(maxCalls),
		wake:    background.NewWake(),
		relays:  make(map[Link]*relayState),
		routes:  make(map[wire.PeerID]*route),
		learned: make(map[wire.PeerID][]wire.PeerID),
		dials:   make(map[wire.PeerID]int),
	}
}

// Wake makes Run check the reservations now.
func (c *Client) Wake() { c.wake.Set() }

// IsSearching reports whether the node is asking peers for reservations.
func (c *Client) IsSearching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.searching
}
