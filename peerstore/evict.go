package peerstore

import "github.com/kadquic/kadquic/wire"

// A class says how dear a peer is when room is short.
type class uint8

const (
	classTold class = iota // others named it; it never proved its key to us
	classMet               // it did
	classUser              // our user named it: kept, whatever else happens
	classes   = iota
)

// metShare is the part of MaxPeers, in eighths, that peers who proved their key
// may fill. The rest is for peers known by hearsay only: a lookup must be able to dial
// a peer that it has just learned of, however many peers we have met.
const metShare = 7

// insert adds id at class c, evicting if the store is full, and returns its entry;
// nil if the store holds no peer of a lower class. The caller holds s.mu.
func (s *Store) insert(id wire.PeerID, c class) *peer {
	if len(s.peers) >= s.opts.MaxPeers && !s.evict(c) {
		return nil
	}
	p := &peer{id: id, class: c}
	s.peers[id] = p
	s.lists[c].pushFront(p)
	return p
}

// evict makes one place for a peer of class c, if it may. The order: peers met
// beyond their share, the longest unseen first; then those only told of, the
// longest ago first; then, for a peer that is met itself, the longest unseen.
func (s *Store) evict(c class) bool {
	victim := s.lists[classTold].last()
	if met := &s.lists[classMet]; victim == nil && c > classTold || met.n*8 > s.opts.MaxPeers*metShare {
		victim = met.last()
	}
	if victim == nil {
		return false
	}
	s.drop(victim)
	return true
}

// touch moves p to the front of its list, up to class c if that is dearer. A peer
// of the user's, or one that was met, does not become newer by hearsay.
// The caller holds s.mu.
func (s *Store) touch(p *peer, c class) {
	if c < p.class || s.lists[p.class].first() == p && c == p.class {
		return
	}
	s.lists[p.class].remove(p)
	p.class = c
	s.lists[c].pushFront(p)
}

// drop forgets p. The caller holds s.mu.
func (s *Store) drop(p *peer) {
	s.lists[p.class].remove(p)
	delete(s.peers, p.id)
}

// ids returns all peers, the dearest and latest first.
func (s *Store) ids() []wire.PeerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]wire.PeerID, 0, len(s.peers))
	for c := classes - 1; c >= 0; c-- {
		for p := s.lists[c].first(); p != nil; p = s.lists[c].after(p) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// A list is a ring of peers through their prev and next, so that moving one
// allocates nothing. It must not be copied after init.
type list struct {
	root peer // prev: the last, next: the first
	n    int
}

func (l *list) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *list) pushFront(p *peer) {
	p.prev, p.next = &l.root, l.root.next
	p.prev.next, p.next.prev = p, p
	l.n++
}

func (l *list) remove(p *peer) {
	p.prev.next, p.next.prev = p.next, p.prev
	p.prev, p.next = nil, nil
	l.n--
}

func (l *list) first() *peer        { return l.entry(l.root.next) }
func (l *list) last() *peer         { return l.entry(l.root.prev) }
func (l *list) after(p *peer) *peer { return l.entry(p.next) }

func (l *list) entry(p *peer) *peer {
	if p == &l.root {
		return nil
	}
	return p
}
