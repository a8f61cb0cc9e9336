package reach

import (
	"net/netip"
	"time"
)

const (
	// MinVotes is how many networks must see the node at an address until it believes them: a
	// single liar cannot make it announce a wrong address. It is also how many voters must
	// agree on an address until the NAT's mapping counts as endpoint-independent.
	MinVotes = 2
	maxVotes = 128
	// voteLife is how long a vote counts after its voter was last connected.
	// An unused mapping of a NAT lives for minutes (RFC 4787 §4.3).
	voteLife     = 10 * time.Minute
	keepVotesFor = voteLife / 2 // a vote of this age needs renewal
)

// votes hold where peers see the node. Each voter has one vote for each socket, its latest. For
// believing an address, networks count (IPv4 /24, IPv6 /64), by the latest vote of each,
// because the holder of one address in a network can have the others too. For classifying a
// NAT, voters count, because a NAT treats each IP as another destination (RFC 4787 §4.1), even
// if all servers are at one hoster. The zero value is empty. Goroutines must not share it.
type votes struct {
	of    map[voter]vote
	casts uint64 // votes cast so far
}

// A voter is an IPv4 address or an IPv6 /64, together with the port of one of our sockets.
type voter struct {
	from   netip.Prefix
	socket uint16
}

func voterOf(by netip.Addr, socket uint16) voter {
	if by.Is4() {
		return voter{prefix(by, 32), socket}
	}
	return voter{NetworkOf(by), socket}
}

type vote struct {
	by     netip.Addr
	socket uint16
	addr   netip.AddrPort
	at     time.Time // when the voter last confirmed it
	since  time.Time // when the voter first saw the node there
	first  uint64    // position in the order of since
	last   uint64    // position in the order of the latest votes; 0 if unknown
}

// maxOfNetwork is how many voters of a network are kept for each socket: enough to classify a
// NAT, and too few to outvote many other networks.
const maxOfNetwork = MinScattered

// cast notes that a peer at by sees socket at addr.
func (v *votes) cast(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	v.casts++
	v.set(vote{by: by, socket: socket, addr: addr, at: now, since: now, first: v.casts, last: v.casts})
}

// stand is cast for a peer that is still connected and reports nothing new. A later report
// from its network stays.
func (v *votes) stand(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	before, voted := v.of[voterOf(by, socket)]
	switch {
	case !voted:
		v.casts++
		v.set(vote{by: by, socket: socket, addr: addr, at: now, since: now, first: v.casts})
	case before.addr == addr:
		before.at = now
		v.of[voterOf(by, socket)] = before
	}
}

// set keeps a vote and drops others if there are too many.
func (v *votes) set(n vote) {
	key := voterOf(n.by, n.socket)
	if before, voted := v.of[key]; voted && before.addr == n.addr {
		n.first, n.since = before.first, before.since
	} else if !voted {
		network := NetworkOf(n.by)
		ofIt := func(o vote) bool { return o.socket == n.socket && NetworkOf(o.by) == network }
		count := 0
		for _, other := range v.of {
			if ofIt(other) {
				count++
			}
		}
		if count >= maxOfNetwork {
			v.dropOldest(ofIt)
		} else if len(v.of) >= maxVotes {
			v.dropOldest(func(vote) bool { return true })
		}
	}
	if v.of == nil {
		v.of = make(map[voter]vote)
	}
	v.of[key] = n
}

// dropOldest drops the vote that was confirmed the longest time ago.
func (v *votes) dropOldest(of func(vote) bool) {
	var oldest voter
	var at time.Time
	for key, vote := range v.of {
		if of(vote) && (at.IsZero() || vote.at.Before(at)) {
			oldest, at = key, vote.at
		}
	}
	delete(v.of, oldest)
}

// expire drops the votes that have ended.
func (v *votes) expire(now time.Time) {
	for key, vote := range v.of {
		if now.Sub(vote.at) > voteLife {
			delete(v.of, key)
		}
	}
}

// networks returns the vote of each network for each of our sockets: the latest.
func (v *votes) networks() map[voter]vote {
	latest := make(map[voter]vote)
	for _, vote := range v.of {
		key := voter{NetworkOf(vote.by), vote.socket}
		if other, ok := latest[key]; !ok || vote.last > other.last || vote.last == other.last && vote.first > other.first {
			latest[key] = vote
		}
	}
	return latest
}

// counts returns how many networks see us at each address.
func (v *votes) counts() map[netip.AddrPort]int {
	counts := make(map[netip.AddrPort]int)
	for _, vote := range v.networks() {
		counts[vote.addr]++
	}
	return counts
}

// besides returns how many networks, without the given one, see the node at an address.
func (v *votes) besides(addr netip.AddrPort, not netip.Prefix) (count int) {
	for key, vote := range v.networks() {
		if vote.addr == addr && key.from != not {
			count++
		}
	}
	return count
}

// anyBesides reports whether any network but the given one sees the node at some address.
func (v *votes) anyBesides(not netip.Prefix) bool {
	for _, vote := range v.of {
		if NetworkOf(vote.by) != not {
			return true
		}
	}
	return false
}

// outside returns the public IP of a family at which most networks see the node.
func (v *votes) outside(is4 bool) (most netip.Addr) {
	counts := make(map[netip.Addr]int)
	for _, vote := range v.networks() {
		ip := vote.addr.Addr()
		if ip.Is4() != is4 || ScopeOf(ip) != ScopeGlobal {
			continue
		}
		if counts[ip]++; counts[ip] > counts[most] || counts[ip] == counts[most] && ip.Less(most) {
			most = ip
		}
	}
	return most
}

// fresh returns how many public networks have confirmed their vote since.
func (v *votes) fresh(since time.Time) (count int) {
	networks := make(map[netip.Prefix]bool)
	for _, vote := range v.of {
		if ScopeOf(vote.by) == ScopeGlobal && !vote.at.Before(since) {
			networks[NetworkOf(vote.by)] = true
		}
	}
	return len(networks)
}

// Vote notes that a peer at by sees one of our sockets, named by its port, at addr.
func (s *Self) Vote(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.cast(by, socket, addr, now)
}

// Stand is Vote for a peer that is still connected and reports nothing new.
func (s *Self) Stand(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.stand(by, socket, addr, now)
}

// HasVoted reports whether a peer of a network has reported where it sees the node.
func (s *Self) HasVoted(network netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, vote := range s.votes.of {
		if NetworkOf(vote.by) == network {
			return true
		}
	}
	return false
}

// MinScattered is how many voters must each see another port before we say that
// ports depend on the destination.
const MinScattered = 3
