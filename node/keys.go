package node

import (
	"sync"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// maxKeys bounds the key cache: 64 bytes and some each.
const maxKeys = 1 << 15

// keys caches the SHA3-256 of peer IDs: a reply names up to 20 peers, nearly
// always known ones, and to hash each again cost 8 µs a reply. Goroutines may
// share it.
type keys struct {
	mu sync.Mutex
	m  map[wire.PeerID]routing.Key
}

func (ks *keys) of(id wire.PeerID) routing.Key {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if key, ok := ks.m[id]; ok {
		return key
	}
	if len(ks.m) >= maxKeys {
		clear(ks.m)
	}
	key := id.Key()
	ks.m[id] = key
	return key
}
