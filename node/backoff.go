package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// maxBackoffs bounds the peers remembered as unreachable.
const maxBackoffs = 8192

// backoff remembers peers that could not be dialled, for as long as
// [peerstore.Backoff] says. Goroutines may share it.
type backoff struct {
	mu    sync.Mutex
	peers map[wire.PeerID]retry
}

type retry struct {
	failures int
	at       time.Time // when it may be dialled again
}

// check returns an error while the peer should be left alone.
func (b *backoff) check(id wire.PeerID, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.peers[id]; ok && now.Before(r.at) {
		return fmt.Errorf("failed %d times in a row, next try in %v", r.failures, r.at.Sub(now).Round(time.Second))
	}
	return nil
}

func (b *backoff) failed(id wire.PeerID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.peers) >= maxBackoffs {
		for old := range b.peers { // any will do
			delete(b.peers, old)
			break
		}
	}
	r := b.peers[id]
	r.failures++
	r.at = now.Add(peerstore.Backoff(r.failures))
	b.peers[id] = r
}

func (b *backoff) clear(id wire.PeerID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, id)
}

// sweep forgets peers not tried for long.
func (b *backoff) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.peers {
		if now.Sub(r.at) > time.Hour {
			delete(b.peers, id)
		}
	}
}
