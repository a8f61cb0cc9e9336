package ticket

import (
	"context"
	"iter"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

const (
	// maxWait is how long relays may take to be found: usually a second, or four where a
	// firewall before a public address has to be noticed first.
	maxWait = 8 * time.Second
	// firstInterval is how often First looks whether the ticket lacks something, and
	// betterInterval how often All looks whether there is a better one.
	firstInterval, betterInterval = 50 * time.Millisecond, time.Second
)

// A Host is the node of which the tickets are. Goroutines share it.
type Host interface {
	// Addrs returns the node's own addresses, the best first.
	Addrs() []wire.Addr
	// Relays returns the relays that hold a reservation of the node, the oldest first.
	Relays() []Relay
	// NeedsRelays reports whether peers may need a relay to reach the node, and
	// IsSearching whether the node is looking for more relays.
	NeedsRelays() bool
	IsSearching() bool
	// IsProbing reports whether the node will soon know whether strangers reach it.
	IsProbing() bool
	// IsReachable reports whether strangers reach the node at its own addresses.
	IsReachable() bool
}

// An Issuer makes the tickets of one node. Goroutines may share it.
type Issuer struct {
	Self wire.PeerID
	Host Host
	Done <-chan struct{} // closed when the node ends
}

// First returns the node's ticket, once it is good or has been awaited for eight seconds, or
// when ctx or the node ends.
func (i Issuer) First(ctx context.Context) Ticket {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	look := time.NewTicker(firstInterval)
	defer look.Stop()
	for i.isPending() {
		select {
		case <-look.C:
			continue
		case <-ctx.Done():
		case <-i.Done:
		}
		break
	}
	return i.current()
}

// All yields the node's ticket as First does, and another whenever there is a better one, or
// when the last one has become useless. It ends with ctx or the node.
func (i Issuer) All(ctx context.Context) iter.Seq[Ticket] {
	return func(yield func(Ticket) bool) {
		last := i.First(ctx)
		worth := i.worth(last)
		if !yield(last) {
			return
		}
		look := time.NewTicker(betterInterval)
		defer look.Stop()
		for {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			case <-i.Done:
				return
			}
			t := i.current()
			now := i.worth(t)
			if len(t.Addrs) > 0 && (now > worth || now > 0 && i.worth(last) == 0) {
				if !yield(t) {
					return
				}
				last, worth = t, now
			}
		}
	}
}

// isPending reports whether a ticket lacks what may be there soon: relays, or word of whether
// strangers reach the node without.
func (i Issuer) isPending() bool {
	if !i.Host.NeedsRelays() {
		return i.Host.IsProbing()
	}
	relays := i.Host.Relays()
	return len(relays) == 0 || i.Host.IsSearching() && !areEnough(relays)
}

// current returns the ticket as of now: the best of the node's own addresses, and then its
// addresses through relays, for which room is kept.
func (i Issuer) current() Ticket {
	var own, circuits []ma.Multiaddr
	for _, r := range choose(i.Host.Relays()) {
		for _, a := range r.Addrs {
			circuits = append(circuits, wire.Circuit{Addr: a, Relay: r.ID, Peer: i.Self}.Multiaddr())
		}
	}
	room := MaxAddrs - len(circuits)
	addrs := reach.Cover(i.Host.Addrs(), room, ip)
	for _, a := range addrs[:min(len(addrs), room)] {
		own = append(own, wire.JoinPeer(a, i.Self))
	}
	return Ticket{i.Self, append(own, circuits...)}
}

// worth returns how useful a ticket still is, in steps that matter to a caller: whether
// strangers reach the node, otherwise how many of its relays are still valid, and with how many
// address families.
func (i Issuer) worth(t Ticket) int {
	held, own := i.Host.Relays(), i.Host.Addrs()
	var relays []Relay // of the ticket, with the addresses that it names
	direct := false
	for _, m := range t.Addrs {
		if c, err := wire.ParseCircuit(m); err == nil {
			is := func(r Relay) bool { return r.ID == c.Relay }
			if !slices.ContainsFunc(held, is) {
				continue
			}
			at := slices.IndexFunc(relays, is)
			if at < 0 {
				at = len(relays)
				relays = append(relays, Relay{ID: c.Relay})
			}
			relays[at].Addrs = append(relays[at].Addrs, c.Addr)
		} else if a, _, err := wire.SplitPeer(m); err == nil && slices.Contains(own, a) {
			direct = true
		}
	}
	const reachable = 100
	switch {
	case direct && i.Host.IsReachable():
		return reachable
	case len(relays) > 0:
		return 10*len(relays) + families(relays...)
	case direct:
		return 1
	}
	return 0
}
