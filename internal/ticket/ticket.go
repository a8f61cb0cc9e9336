package ticket

import (
	"fmt"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kadquic/kadquic/wire"
)

// MaxAddrs is the number of addresses of a ticket at most, so that people will handle it.
const MaxAddrs = 6

// A Ticket names a peer and its addresses. See node.Ticket.
type Ticket struct {
	ID    wire.PeerID
	Addrs []ma.Multiaddr // each ends in /p2p/ID; best first
}

// String returns a ticket for [Parse], with at most MaxAddrs addresses, and with loopback
// addresses only if the first is one.
func (t Ticket) String() string {
	var at []string
	for _, a := range t.Addrs {
		if len(at) < MaxAddrs && (len(at) == 0 || !manet.IsIPLoopback(a)) {
			at = append(at, strings.TrimSuffix(a.String(), "/p2p/"+t.ID.String()))
		}
	}
	if len(at) == 0 {
		return t.ID.String()
	}
	return t.ID.String() + "@" + strings.Join(at, ",")
}

// Parse reads a ticket. The ID of a peer alone is one as well, and so is an address that ends
// in /p2p/ID.
func Parse(s string) (Ticket, error) {
	id, addrs, hasAddrs := strings.Cut(s, "@")
	if i := strings.LastIndex(s, "/p2p/"); strings.HasPrefix(s, "/") && i > 0 {
		id, addrs, hasAddrs = s[i+len("/p2p/"):], s[:i], true
	}
	var t Ticket
	var err error
	if t.ID, err = wire.ParsePeerID(id); err != nil || !hasAddrs {
		return t, err
	}
	for a := range strings.SplitSeq(addrs, ",") {
		m, err := ma.NewMultiaddr(a + "/p2p/" + t.ID.String())
		if err == nil && a == "" {
			err = wire.ErrAddr
		}
		if err != nil {
			return Ticket{}, fmt.Errorf("address %q of a ticket: %w", a, err)
		}
		t.Addrs = append(t.Addrs, m)
	}
	return t, nil
}
