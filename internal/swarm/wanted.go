package swarm

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Wanted is the peers that the node is looking for or dialling. A lookup, the user and
// the peers that answer tell it when an address or a relay of a peer becomes known, and
// the dial under way tries that too. Make it with [NewWanted]. Goroutines may share it.
type Wanted struct {
	mu sync.Mutex
	of map[wire.PeerID]*wantedPeer
}

// A wantedPeer is one of them. Wanted.mu guards it.
type wantedPeer struct {
	users int
	dials int           // under way
	began time.Time     // when the first user asked for the peer
	news  chan struct{} // closed at the next news
	told  int           // how often there was news
	taken int           // told, at the time of the latest Take
}

// NewWanted makes an empty set.
func NewWanted() *Wanted { return &Wanted{of: make(map[wire.PeerID]*wantedPeer)} }

// Add notes that one more user looks for a peer. Remove must follow.
func (w *Wanted) Add(id wire.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(id)
}

// add is Add for callers that hold mu.
func (w *Wanted) add(id wire.PeerID) *wantedPeer {
	p := w.of[id]
	if p == nil {
		p = &wantedPeer{began: time.Now(), news: make(chan struct{})}
		w.of[id] = p
	}
	p.users++
	return p
}

// Remove ends what Add began.
func (w *Wanted) Remove(id wire.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(id)
}

// remove is Remove for callers that hold mu.
func (w *Wanted) remove(id wire.PeerID) {
	if p := w.of[id]; p != nil {
		if p.users--; p.users == 0 {
			delete(w.of, id)
		}
	}
}

// AddDial is Add for a dial. RemoveDial must follow.
func (w *Wanted) AddDial(id wire.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(id).dials++
}

// RemoveDial ends what AddDial began.
func (w *Wanted) RemoveDial(id wire.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[id].dials--
	w.remove(id)
}

// IsDialling reports whether any dial of the peer is under way.
func (w *Wanted) IsDialling(id wire.PeerID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.of[id]
	return p != nil && p.dials > 0
}

// Take returns a channel that is closed when more is known about where a wanted peer is.
// A dial calls it before it reads the peer's addresses.
func (w *Wanted) Take(id wire.PeerID) (news <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.of[id]
	p.taken = p.told
	return p.news
}

// Untaken is Take for a user that does not dial. It also reports whether there was news
// since the latest Take.
func (w *Wanted) Untaken(id wire.PeerID) (news <-chan struct{}, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.of[id]
	return p.news, p.taken != p.told
}

// Tell wakes the users that look for a peer, if there are any.
func (w *Wanted) Tell(id wire.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.of[id]; p != nil {
		close(p.news)
		p.news = make(chan struct{})
		p.told++
	}
}

// Has reports whether any user looks for a peer.
func (w *Wanted) Has(id wire.PeerID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of[id] != nil
}

// Since returns when the first user asked for a peer, or began if that is earlier or no
// user looks for the peer.
func (w *Wanted) Since(id wire.PeerID, began time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.of[id]; p != nil && p.began.Before(began) {
		return p.began
	}
	return began
}
