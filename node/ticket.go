package node

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/ticket"
	"github.com/kadquic/kadquic/wire"
)

// A Ticket holds the ID and addresses of a peer in one word that people can pass on, so that a
// caller needs no lookup:
//
//	12D3KooW…@/ip4/192.0.2.1/udp/4774/quic-v1,/ip4/192.0.2.9/udp/4774/quic-v1/p2p/12D3KooW…/p2p-circuit
//
// The addresses may be out of date; the ID never changes. A ticket proves nothing and is not a
// secret.
type Ticket struct {
	ID    wire.PeerID
	Addrs []ma.Multiaddr // each ends in /p2p/ID, as with Node.Addrs; best first
}

// String returns a ticket for [ParseTicket], with at most six addresses, and with loopback
// addresses only if the first is one.
func (t Ticket) String() string { return ticket.Ticket(t).String() }

// ParseTicket reads a ticket. The ID of a peer alone is one as well, and so is an
// address that ends in /p2p/ID.
func ParseTicket(s string) (Ticket, error) {
	t, err := ticket.Parse(s)
	return Ticket(t), err
}

// Ticket returns the node's own ticket. If the node may be behind a NAT or a firewall, the ticket
// names two relays through which every peer reaches it, in different networks and with both
// address families if there are such. It waits for them for at most eight seconds, or until
// ctx ends.
func (n *Node) Ticket(ctx context.Context) Ticket {
	return Ticket(n.tickets().First(ctx))
}

// Tickets yields the node's own ticket as Ticket does, and another whenever there is a better one:
// one through which more peers reach the node, or when the last one has become useless. It
// ends with ctx or the node.
func (n *Node) Tickets(ctx context.Context) iter.Seq[Ticket] {
	return func(yield func(Ticket) bool) {
		for t := range n.tickets().All(ctx) {
			if !yield(Ticket(t)) {
				return
			}
		}
	}
}

func (n *Node) tickets() ticket.Issuer {
	return ticket.Issuer{Self: n.id, Host: ticketHost{n}, Done: n.ctx.Done()}
}

// ticketHost is the node as the issuer of its tickets sees it.
type ticketHost struct{ n *Node }

func (h ticketHost) Addrs() []wire.Addr { return h.n.addrs() }
func (h ticketHost) IsSearching() bool  { return h.n.relays.IsSearching() }

func (h ticketHost) Relays() []ticket.Relay {
	var all []ticket.Relay
	for _, r := range h.n.Relays() {
		all = append(all, ticket.Relay{ID: r.ID, Addrs: h.n.relayAddrs(r)})
	}
	return all
}

func (h ticketHost) NeedsRelays() bool {
	if h.n.config.Mode == ModeServer {
		return false
	}
	_, elsewhere, reached := h.n.self.Seen(time.Now())
	return h.n.relays.Host.WantsRelays() || !reached && elsewhere > 0
}

// IsProbing reports whether peers are being asked for the first time whether strangers reach
// the node, and none has come in yet.
func (h ticketHost) IsProbing() bool {
	n, now := h.n, time.Now()
	untried := n.self.Untried(now)
	return n.config.Mode != ModeServer && n.asks() && !n.self.Sum(now).Yes && n.reachProbe.rounds.Progress(untried).Trying &&
		slices.ContainsFunc(untried, func(at netip.AddrPort) bool { return len(n.answerers(at, true)) > 0 })
}

func (h ticketHost) IsReachable() bool {
	return !h.n.relays.Host.WantsRelays() || h.n.self.Sum(time.Now()).Yes
}
