package peerstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Source says how an address was learned. The higher, the better it is known.
type Source uint8

const (
	// SourceTold: another peer named it.
	SourceTold Source = iota + 1
	// SourceRecord: the peer's own signed record names it.
	SourceRecord
	// SourceObserved: the peer connected to us from there and proved its key.
	SourceObserved
	// SourceDialled: we connected to it there and it proved its key.
	SourceDialled
	// SourceUser: our own user named it. Such a peer is never evicted.
	SourceUser
)

// String returns the source in one word.
func (s Source) String() string {
	switch s {
	case SourceTold:
		return "told"
	case SourceRecord:
		return "record"
	case SourceObserved:
		return "observed"
	case SourceDialled:
		return "dialled"
	case SourceUser:
		return "user"
	}
	return fmt.Sprintf("source %d", uint8(s))
}

// authenticated reports whether the peer proved its key at such an address.
func (s Source) authenticated() bool { return s == SourceObserved || s == SourceDialled }

// class is the list a peer known from this source stands in at least.
func (s Source) class() class {
	switch {
	case s == SourceUser:
		return classUser
	case s.authenticated():
		return classMet
	}
	return classTold
}

// Info describes one peer. It is a copy that the caller may keep.
type Info struct {
	ID     wire.PeerID
	Addrs  []AddrInfo    // verified ones first
	Mode   wire.Mode     // zero if it never said
	Agent  string        // its program, as it says; quote it before printing
	RTT    time.Duration // smoothed; zero if never measured
	Record *wire.Signed  // its newest signed record, or nil; shared, not to be changed
	Seen   time.Time     // when it last proved its key to us; zero if never
}

// AddrInfo describes one address of a peer.
type AddrInfo struct {
	Addr     wire.Addr
	Source   Source    // the best of those that named it
	Expires  time.Time // forgotten after this; zero: kept with the peer
	Success  time.Time // when the peer last proved its key there; zero if never
	Failure  time.Time // when it last could not be reached there; zero if not since Success
	Failures int       // in a row since Success
	Retry    time.Time // end of the back-off after Failures; zero if there is none
}

// Backoff returns how long an address is better left alone after n failures in a
// row: 5 s + n² s, at most 5 minutes, nothing for n = 0.
func Backoff(n int) time.Duration {
	const ceiling = 5 * time.Minute
	if n <= 0 {
		return 0
	}
	if n > 17 { // 5 + 18² > 300
		return ceiling
	}
	return min(5*time.Second+time.Duration(n*n)*time.Second, ceiling)
}

func (p *peer) info() Info {
	info := Info{
		ID: p.id, Mode: p.mode, Agent: p.agent, Record: p.record, Seen: instant(p.seen),
		RTT: p.rtt.Smoothed(), Addrs: make([]AddrInfo, len(p.addrs)),
	}
	for i := range p.addrs {
		info.Addrs[i] = p.addrs[i].info()
	}
	return info
}

func (a *address) info() AddrInfo {
	info := AddrInfo{
		Addr: a.addr, Source: a.source, Success: instant(a.success), Failure: instant(a.failure),
		Failures: int(a.failures), Retry: instant(a.retry()),
	}
	if a.expiry != forGood {
		info.Expires = instant(a.expiry)
	}
	return info
}

// instant is the time of Unix nanoseconds t, the zero time for 0.
func instant(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, t)
}

// maxRTT bounds what is believed of a round trip; a snapshot has room for six times that.
const maxRTT = 10 * time.Minute

// ObserveRTT adds one measured round trip to a known peer's estimate. A negative one is
// none, one over 10 minutes is taken for that.
func (s *Store) ObserveRTT(id wire.PeerID, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil && d >= 0 {
		p.rtt.Observe(min(d, maxRTT))
	}
}

// RTT returns the round-trip estimate of a peer, false if there was no sample.
func (s *Store) RTT(id wire.PeerID) (routing.RTT, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return routing.RTT{}, false
	}
	return p.rtt, p.rtt.Known()
}

// SetRecord keeps the signed peer record r of id, and reports whether it did: not
// when it is no peer record of id, or when one as new is held. Its signature is
// not checked: the caller checks it before relying on it. It brings no addresses: those the
// caller adds, with SourceRecord, after deciding which it would dial.
func (s *Store) SetRecord(id wire.PeerID, r *wire.Signed) bool {
	if r == nil || !id.IsValid() || r.Record.Kind != wire.KindPeer || r.Record.Publisher != id {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		if p = s.insert(id, classTold); p == nil {
			return false
		}
	}
	if p.record != nil && !wire.Newer(r, p.record) {
		return false
	}
	p.record = r
	return true
}

// Record returns the newest signed record known of id, nil if none is. It may
// have expired; Prune drops it then.
func (s *Store) Record(id wire.PeerID) *wire.Signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil {
		return p.record
	}
	return nil
}

// DropRecord forgets r if it is the record known of id: it does not verify, say.
func (s *Store) DropRecord(id wire.PeerID, r *wire.Signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil && p.record == r {
		p.record = nil
	}
}

// SetMode keeps the mode a known peer named when it connected.
func (s *Store) SetMode(id wire.PeerID, mode wire.Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil {
		p.mode = mode
	}
}

// SetAgent keeps the name and version of the program that a known peer says it
// runs, cut to wire.MaxAgent bytes. It is a stranger's text: quote it before it reaches a
// log or a terminal.
func (s *Store) SetAgent(id wire.PeerID, agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[id]; p != nil && p.agent != agent {
		p.agent = strings.Clone(agent[:min(len(agent), wire.MaxAgent)])
	}
}
