package store

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// SeqMemory is how long the highest sequence number of an owned key is remembered
// after it was first seen, even if its record ended, so that a holder of an older record
// cannot bring it back.
const SeqMemory = 7 * 24 * time.Hour

// maxShared is the longest life of a cached copy whose value may change.
const maxShared = 5 * time.Minute

// sweepEvery is the least time between two searches of Put for ended records when there is no
// room.
const sweepEvery = time.Second

// CacheLife returns how long to keep a record that lives for left, at a node that
// knows nearer nodes nearer to its key than itself: all of it within the k nearest,
// half for every node beyond (Kademlia §2.3 wants it to fall exponentially), and
// there at most 5 minutes what may change, or be withdrawn: all but content.
func CacheLife(kind wire.Kind, left time.Duration, nearer, k int) time.Duration {
	if nearer <= k {
		return left
	}
	left >>= min(nearer-k, 62)
	if kind != wire.KindContent {
		left = min(left, maxShared)
	}
	return left
}

// RepublishAt returns when the holder whose key is self republishes h: interval after it was last
// received, and up to a quarter more by a jitter that differs by holder and round, so that
// usually one of 20 holders is first and suppresses the others (Kademlia §2.5). Records
// received before since, the start of the process, come due evenly over the first interval
// after it, so that a restart causes no burst.
func RepublishAt(self routing.Key, h Held, since time.Time, interval time.Duration) time.Time {
	sum := fnv.New64a()
	sum.Write(self[:])
	sum.Write(h.Print[:])
	sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(h.Received.UnixNano())))
	x := sum.Sum64()
	x ^= x >> 32 // FNV's high bits are its poorest
	x *= 0xd6e8feb86659fd93
	jitter := float64(x>>11) / (1 << 53)
	if h.Received.Before(since) {
		return since.Add(time.Duration(jitter * float64(interval)))
	}
	return h.Received.Add(interval + time.Duration(jitter*float64(interval/4)))
}
