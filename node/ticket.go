package node

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kadquic/kadquic/internal/reach"
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

const (
	// maxTicketAddrs keeps tickets such that people will handle them.
	maxTicketAddrs = 6
	// ticketRelays is how many relays a ticket names, each at an address of each family.
	// When one has died the other will do.
	ticketRelays = 2
	// ticketWait is how long relays may take to be found: usually a second, or four where
	// a firewall before a public address has to be noticed first.
	ticketWait = 8 * time.Second
	// ticketLook is how often Tickets looks whether there is a better one.
	ticketLook = time.Second
)

// String returns a ticket for [ParseTicket], with at most six addresses, and with loopback
// addresses only if the first is one.
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

// Ticket returns the node's own ticket. If the node may be behind a NAT or a firewall, the ticket
// names two relays through which every peer reaches it, in different networks and with both
// address families if there are such. It waits for them for at most eight seconds, or until
// ctx ends.
func (n *Node) Ticket(ctx context.Context) Ticket {
	ctx, cancel := context.WithTimeout(ctx, ticketWait)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for n.ticketLacks(time.Now()) && ctx.Err() == nil && n.ctx.Err() == nil {
		select {
		case <-look.C:
		case <-ctx.Done():
		case <-n.ctx.Done():
		}
	}
	return n.ticket()
}

// Tickets yields the node's own ticket as Ticket does, and another whenever there is a better one:
// one through which more peers reach the node, or when the last one has become useless. It
// ends with ctx or the node.
func (n *Node) Tickets(ctx context.Context) iter.Seq[Ticket] {
	return func(yield func(Ticket) bool) {
		last := n.Ticket(ctx)
		worth := n.ticketWorth(last)
		if !yield(last) {
			return
		}
		look := time.NewTicker(ticketLook)
		defer look.Stop()
		for {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
			t := n.ticket()
			now := n.ticketWorth(t)
			if len(t.Addrs) > 0 && (now > worth || now > 0 && n.ticketWorth(last) == 0) {
				if !yield(t) {
					return
				}
				last, worth = t, now
			}
		}
	}
}

// ticketLacks reports whether a ticket would lack what may be there soon: relays, or
// word of whether strangers get in without.
func (n *Node) ticketLacks(now time.Time) bool {
	if n.config.Mode == ModeServer {
		return false
	}
	_, elsewhere, reached := n.self.Seen(now)
	if !n.relays.Host.WantsRelays() && (reached || elsewhere == 0) {
		return n.maySoonKnowReach(now)
	}
	relays := n.Relays()
	if len(relays) == 0 {
		return true
	}
	return n.relays.IsSearching() && !n.areEnough(relays)
}

// maySoonKnowReach reports whether peers are being asked for the first time whether
// strangers reach the node, and none has come in yet.
func (n *Node) maySoonKnowReach(now time.Time) bool {
	untried := n.self.Untried(now)
	return n.asks() && !n.self.Sum(now).Yes && n.reachProbe.rounds.Progress(untried).Trying &&
		slices.ContainsFunc(untried, func(at netip.AddrPort) bool { return len(n.answerers(at, true)) > 0 })
}

// areEnough reports whether relays are in two networks, and by both families of
// addresses.
func (n *Node) areEnough(relays []RelayInfo) bool {
	chosen := n.chooseRelays(relays)
	if len(chosen) < ticketRelays || relayNetwork(chosen[0]) == relayNetwork(chosen[1]) {
		return false
	}
	families := make(map[bool]bool)
	for _, r := range chosen {
		for _, a := range n.relayAddrs(r) {
			families[ipOf(a).Is4()] = true
		}
	}
	return len(families) == 2
}

// ticket returns the ticket as of now: the best of the node's own addresses, and then
// its addresses by relays, for which room is kept.
func (n *Node) ticket() Ticket {
	var own, circuits []ma.Multiaddr
	for _, r := range n.chooseRelays(n.Relays()) {
		circuits = append(circuits, n.circuitsOf(r)...)
	}
	addrs := n.addrs()
	room := maxTicketAddrs - len(circuits)
	addrs = reach.Cover(addrs, room, ipOf)
	for _, a := range addrs[:min(len(addrs), room)] {
		own = append(own, wire.JoinPeer(a, n.id))
	}
	return Ticket{n.id, append(own, circuits...)}
}

// chooseRelays returns the relays that a ticket names: of two networks, if there are
// two, and if need be the one that is the only one with an address of a family.
func (n *Node) chooseRelays(relays []RelayInfo) []RelayInfo {
	var best []RelayInfo
	worth := -1
	for i, a := range relays {
		if worth < 0 {
			best, worth = []RelayInfo{a}, 0
		}
		for _, b := range relays[i+1:] {
			families := make(map[bool]bool)
			for _, addr := range append(n.relayAddrs(a), n.relayAddrs(b)...) {
				families[ipOf(addr).Is4()] = true
			}
			w := 2 * len(families)
			if relayNetwork(a) != relayNetwork(b) {
				w += 3
			}
			if w > worth {
				best, worth = []RelayInfo{a, b}, w
			}
		}
	}
	return best
}

func relayNetwork(r RelayInfo) netip.Prefix { return reach.NetworkOf(ipOf(r.Addr)) }

// ticketWorth returns how useful a ticket still is, in steps that matter to a caller: whether
// strangers reach the node, otherwise how many of its relays are still valid, and with how many
// address families.
func (n *Node) ticketWorth(t Ticket) int {
	held := n.relays.Relays()
	var relays []wire.PeerID
	families := make(map[bool]bool)
	direct := false
	own := n.addrs()
	for _, m := range t.Addrs {
		if c, err := wire.ParseCircuit(m); err == nil {
			if slices.Contains(held, c.Relay) {
				families[ipOf(c.Addr).Is4()] = true
				if !slices.Contains(relays, c.Relay) {
					relays = append(relays, c.Relay)
				}
			}
		} else if a, _, err := wire.SplitPeer(m); err == nil && slices.Contains(own, a) {
			direct = true
		}
	}
	const reachable = 100
	switch {
	case direct && (!n.relays.Host.WantsRelays() || n.self.Sum(time.Now()).Yes):
		return reachable
	case len(relays) > 0:
		return 10*len(relays) + len(families)
	case direct:
		return 1
	}
	return 0
}
