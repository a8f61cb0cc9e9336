package control

import (
	"context"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A Netcheck is how others reach a node, as far as it knows.
type Netcheck struct {
	ID     wire.PeerID `json:"id"`
	Mode   string      `json:"mode"` // "server" or "client"
	Told   bool        `json:"told"` // set by the user; otherwise detected
	Why    string      `json:"why"`
	Reach  string      `json:"reach"` // by strangers, at any address: "yes", "no" or "unknown"
	Asking bool        `json:"asking"`

	// Thorough: all there are to ask have been asked again and again; to wait tells no more.
	Thorough bool `json:"thorough"`

	Asked time.Time `json:"asked,omitzero"` // when others were last asked to connect
	Peers int       `json:"peers"`          // in the routing table
	Conns int       `json:"connections"`

	Addrs        []OwnAddr     `json:"addrs"`
	IPv4         NAT           `json:"ipv4"`
	IPv6         NAT           `json:"ipv6"`
	PortMappings []PortMapping `json:"port_mappings,omitempty"` // of sockets that the router is asked about
	Relays       []Relay       `json:"relays,omitempty"`        // at which the node has a place
	Advice       []string      `json:"advice,omitempty"`        // what a user can do about it; of "kad netcheck"
}

// An OwnAddr is an address of the node.
type OwnAddr struct {
	Addr   string    `json:"addr"`
	Known  string    `json:"known"` // how: "own" of the machine, "mapped" by the router, "observed" by others
	Public bool      `json:"public"`
	Votes  int       `json:"votes"` // networks whose peers see the node there
	Told   bool      `json:"told"`  // to others
	Reach  string    `json:"reach"` // by strangers
	Since  time.Time `json:"since,omitzero"`
	Why    string    `json:"why"`
}

// A NAT describes the NAT before the node, for one address family.
type NAT struct {
	Mapping string     `json:"mapping"`
	Votes   int        `json:"votes"`
	Outside netip.Addr `json:"outside,omitzero"` // the IP at which others see the node
	Reach   string     `json:"reach"`            // at whatever address others see it
}

func (l *local) Netcheck(context.Context) (Netcheck, error) {
	n := l.node
	r := n.Reachability()
	c := Netcheck{
		ID: n.ID(), Mode: r.Mode.String(), Told: r.Told, Why: r.Why, Reach: r.Reach().String(),
		Asking: r.Asking, Thorough: r.Thorough, Asked: r.Asked, Peers: n.Stats().Peers, Conns: n.Stats().Connections,
		IPv4: natOf(r.IPv4), IPv6: natOf(r.IPv6),
		PortMappings: portMappings(n),
	}
	for _, a := range r.Addrs {
		known := "observed"
		switch {
		case a.Local:
			known = "own"
		case a.Mapped:
			known = "mapped"
		}
		c.Addrs = append(c.Addrs, OwnAddr{
			Addr: a.Addr.String(), Known: known, Public: a.Public, Votes: a.Votes, Told: a.Told,
			Reach: a.Reach.String(), Since: a.Since, Why: a.Why,
		})
	}
	c.Relays = relaysOf(n)
	return c, nil
}

func natOf(n node.NAT) NAT {
	return NAT{Mapping: n.Mapping.String(), Votes: n.Votes, Outside: n.Outside, Reach: n.Reach.String()}
}

// Netcheck is the API's.
func (c *Client) Netcheck(ctx context.Context) (Netcheck, error) {
	return ask[Netcheck](ctx, c, "netcheck", struct{}{})
}
