package node

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// seeks are the peers that the node is looking for or dialling. A lookup, the user
// and the peers that answer tell it where a peer is, and the dial under way takes
// that in. Make it with newSeeks. Goroutines may share it.
type seeks struct {
	mu sync.Mutex
	of map[wire.PeerID]*seek
}

// A seek is one of them; seeks.mu guards it.
type seek struct {
	users int
	dials int           // under way
	began time.Time     // when the first user asked for the peer
	news  chan struct{} // closed at the next news
	told  int           // how often there was news
	taken int           // told, when a dial last looked where the peer is
}

func newSeeks() seeks { return seeks{of: make(map[wire.PeerID]*seek)} }

// enter notes that one more user seeks a peer. Each enter needs a leave.
func (s *seeks) enter(id wire.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of[id]
	if k == nil {
		k = &seek{began: time.Now(), news: make(chan struct{})}
		s.of[id] = k
	}
	k.users++
}

// enterDial is enter for a dial, which needs a leaveDial.
func (s *seeks) enterDial(id wire.PeerID) {
	s.enter(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[id].dials++
}

func (s *seeks) leaveDial(id wire.PeerID) {
	s.mu.Lock()
	s.of[id].dials--
	s.mu.Unlock()
	s.leave(id)
}

// dialling reports whether a dial is under way, whoever began it.
func (s *seeks) dialling(id wire.PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of[id]
	return k != nil && k.dials > 0
}

func (s *seeks) leave(id wire.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.of[id]; k != nil {
		if k.users--; k.users == 0 {
			delete(s.of, id)
		}
	}
}

// take returns a channel that is closed when more is known of where a peer is, which
// must have been entered. A dial calls it before it looks where the peer is.
func (s *seeks) take(id wire.PeerID) (news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of[id]
	k.taken = k.told
	return k.news
}

// untaken is take for a user who does not dial. It also reports whether there was news
// since a dial last looked.
func (s *seeks) untaken(id wire.PeerID) (news <-chan struct{}, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of[id]
	return k.news, k.taken != k.told
}

// tell wakes the users who seek a peer.
func (s *seeks) tell(id wire.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.of[id]; k != nil {
		close(k.news)
		k.news = make(chan struct{})
		k.told++
	}
}

// has reports whether a peer is sought.
func (s *seeks) has(id wire.PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id] != nil
}

// since returns when the first user asked for a peer, or began if that is earlier or
// nobody seeks it.
func (s *seeks) since(id wire.PeerID, began time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.of[id]; k != nil && k.began.Before(began) {
		return k.began
	}
	return began
}
