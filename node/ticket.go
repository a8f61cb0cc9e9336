package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kadquic/kadquic/wire"
)

// A Ticket says who a peer is, and where, in one word that people can pass on, so
// that nobody need be asked where the peer is:
//
//	12D3KooW…@/ip4/192.0.2.1/udp/4774/quic-v1,/ip4/192.0.2.9/udp/4774/quic-v1/p2p/12D3KooW…/p2p-circuit
//
// What it says of where may be out of date; the ID is the peer's for ever. A ticket
// proves nothing, and keeps no secret.
type Ticket struct {
	ID    wire.PeerID
	Addrs []ma.Multiaddr // each ends in /p2p/ID, as with Node.Addrs; best first
}

const (
	// maxTicketAddrs keeps tickets such that people will handle them.
	maxTicketAddrs = 6
	// ticketWait is how long a relay may take to be found: usually two seconds.
	ticketWait = 5 * time.Second
)

// String writes a ticket for [ParseTicket]: with six addresses at most, and with
// those of loopback only if the first is one.
func (t Ticket) String() string {
	var at []string
	for _, a := range t.Addrs {
		if len(at) < maxTicketAddrs && (len(at) == 0 || !manet.IsIPLoopback(a)) {
			at = append(at, strings.TrimSuffix(a.String(), "/p2p/"+t.ID.String()))
		}
	}
	if len(at) == 0 {
		return t.ID.String()
	}
	return t.ID.String() + "@" + strings.Join(at, ",")
}

// ParseTicket reads a ticket. The ID of a peer alone is one as well, and so is an
// address that ends in /p2p/ID.
func ParseTicket(s string) (Ticket, error) {
	id, at, where := strings.Cut(s, "@")
	if i := strings.LastIndex(s, "/p2p/"); strings.HasPrefix(s, "/") && i > 0 {
		id, at, where = s[i+len("/p2p/"):], s[:i], true
	}
	var t Ticket
	var err error
	if t.ID, err = wire.ParsePeerID(id); err != nil || !where {
		return t, err
	}
	for a := range strings.SplitSeq(at, ",") {
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

// Ticket returns the node's own ticket. If others see it where it is not itself, so
// that a NAT may stand before it, and it has no place at a relay, it waits for one
// for five seconds, or until ctx ends: by an address at a relay everybody reaches it.
func (n *Node) Ticket(ctx context.Context) Ticket {
	ctx, cancel := context.WithTimeout(ctx, ticketWait)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for n.lacksRelay() && ctx.Err() == nil && n.ctx.Err() == nil {
		select {
		case <-look.C:
		case <-ctx.Done():
		case <-n.ctx.Done():
		}
	}
	return Ticket{n.id, n.Addrs()}
}

// lacksRelay reports whether a relay is wanted, or may be when more is known, and
// there is none.
func (n *Node) lacksRelay() bool {
	if len(n.Relays()) > 0 || n.config.Mode == ModeServer {
		return false
	}
	_, elsewhere, reached := n.self.Seen(time.Now())
	return n.wantsRelays() || elsewhere > 0 && !reached
}
