package reach

import (
	"net/netip"
	"time"
)

const (
	// MinVotes is how many networks must see us at an address before we believe
	// it: one liar cannot make us tell others of a place where we are not.
	MinVotes = 2
	maxVotes = 128
	// voteLife is how long a vote counts after its voter was last connected.
	// Mappings of NATs that are used no more live for minutes (RFC 4787 §4.3).
	voteLife     = 10 * time.Minute
	keepVotesFor = voteLife / 2 // a vote as old as that is to be renewed
)

// votes say where others see us. Each network, an IPv4 /24 or an IPv6 /64, has
// one vote for each of our sockets, the latest of its peers'. The zero value has
// none; time is an argument; goroutines must not share it.
type votes struct {
	of map[voter]vote
}

// A voter is a network, and our socket by its port.
type voter struct {
	network netip.Prefix
	socket  uint16
}

type vote struct {
	by   netip.Addr
	addr netip.AddrPort
	at   time.Time // when the voter last stood by it
}

// cast takes in that a peer at by sees socket at addr.
func (v *votes) cast(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	key := voter{NetworkOf(by), socket}
	if _, voted := v.of[key]; !voted && len(v.of) >= maxVotes {
		v.dropOldest()
	}
	if v.of == nil {
		v.of = make(map[voter]vote)
	}
	v.of[key] = vote{by, addr, now}
}

// stand is cast for a peer that is connected still and has said nothing new: what
// another of its network has said since stays.
func (v *votes) stand(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	if before, voted := v.of[voter{NetworkOf(by), socket}]; !voted || before.addr == addr {
		v.cast(by, socket, addr, now)
	}
}

func (v *votes) dropOldest() {
	var oldest voter
	var at time.Time
	for key, vote := range v.of {
		if at.IsZero() || vote.at.Before(at) {
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

// counts returns how many votes each address has.
func (v *votes) counts() map[netip.AddrPort]int {
	counts := make(map[netip.AddrPort]int)
	for _, vote := range v.of {
		counts[vote.addr]++
	}
	return counts
}

// besides returns how many networks other than one see us at an address.
func (v *votes) besides(addr netip.AddrPort, not netip.Prefix) (count int) {
	for key, vote := range v.of {
		if vote.addr == addr && key.network != not {
			count++
		}
	}
	return count
}

// outside returns the public IP of a family at which most networks see us.
func (v *votes) outside(is4 bool) (most netip.Addr) {
	counts := make(map[netip.Addr]int)
	for _, vote := range v.of {
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

// fresh returns how many public networks have stood by where they see us since.
func (v *votes) fresh(since time.Time) (count int) {
	for _, vote := range v.of {
		if ScopeOf(vote.by) == ScopeGlobal && !vote.at.Before(since) {
			count++
		}
	}
	return count
}

// Vote takes in that a peer at by sees one of our sockets, named by its port, at addr.
func (s *Self) Vote(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.cast(by, socket, addr, now)
}

// Stand is Vote for a peer that is connected still and has said nothing new.
func (s *Self) Stand(by netip.Addr, socket uint16, addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes.stand(by, socket, addr, now)
}

// NeedsVotes reports whether all we know of where we are is what others say, and too
// few have said so lately: a place would be ours no more when their votes end.
func (s *Self) NeedsVotes(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.ownLocked(now) {
		if ScopeOf(at.Addr()) == ScopeGlobal {
			return false
		}
	}
	return s.votes.fresh(now.Add(-keepVotesFor)) < MinVotes
}

// HasVoted reports whether somebody in a network has said where it sees us.
func (s *Self) HasVoted(network netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.votes.of {
		if key.network == network {
			return true
		}
	}
	return false
}
