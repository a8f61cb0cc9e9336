package swarm

import (
	"fmt"
	"sync"
	"time"

	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/wire"
)

// maxBackoffs bounds the peers that a Backoff remembers.
const maxBackoffs = 8192

// Backoff remembers peers that could not be dialled, for as long as [peerstore.Backoff]
// says. The zero value is empty. Goroutines may share it.
type Backoff struct {
	mu    sync.Mutex
	peers map[wire.PeerID]attempts
}

type attempts struct {
	failures int       // in a row
	at       time.Time // when the next attempt may begin
}

// Check returns an error while the peer should not be dialled.
func (b *Backoff) Check(id wire.PeerID, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, ok := b.peers[id]; ok && now.Before(r.at) {
		return fmt.Errorf("failed %d times in a row, next try in %v", r.failures, r.at.Sub(now).Round(time.Second))
	}
	return nil
}

// Failed notes that a dial of the peer failed.
func (b *Backoff) Failed(id wire.PeerID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peers == nil {
		b.peers = make(map[wire.PeerID]attempts)
	}
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

// Clear forgets the failures of a peer.
func (b *Backoff) Clear(id wire.PeerID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, id)
}

// Sweep forgets peers that have not been dialled for an hour after they might have been.
func (b *Backoff) Sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.peers {
		if now.Sub(r.at) > time.Hour {
			delete(b.peers, id)
		}
	}
}
