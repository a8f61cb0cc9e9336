package bench

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// TableReport is the cost of the routing table alone.
type TableReport struct {
	Shape
	Inserts         int     `json:"inserts"`
	Queries         int     `json:"queries"`
	PerInsert       float64 `json:"ns_per_insert"`  // CPU
	PerNearest      float64 `json:"ns_per_nearest"` // CPU
	AllocsPer       float64 `json:"allocs_per_nearest"`
	TableLen        int     `json:"table_len"`
	BytesPerContact float64 `json:"bytes_per_contact"` // of heap, replacement caches included
}

// runTable inserts random contacts into one table, then asks it for the k
// nearest of random keys. A contact is a key and a 32-byte peer ID, as in a
// node.
func runTable(ctx context.Context, j *job) (any, error) {
	type contact = routing.Contact[[32]byte]
	inserts, queries := j.contacts, 10*j.contacts
	report := &TableReport{Shape: j.shape("w3"), Inserts: inserts, Queries: queries}
	choose := j.rand(3)

	newcomers := make([]contact, inserts)
	for i := range newcomers {
		newcomers[i] = contact{Key: randomKey(choose), Addr: randomKey(choose)}
	}
	targets := make([]routing.Key, queries)
	for i := range targets {
		targets[i] = randomKey(choose)
	}

	j.say("%d contacts into one table", inserts)
	now := time.Now()
	before := liveBytes()
	table := routing.NewTable(randomKey(choose), routing.TableOptions[[32]byte]{K: routing.DefaultK})
	meter := start()
	for i := range newcomers {
		table.Seen(newcomers[i], now)
	}
	report.PerInsert = meter.stop().per(inserts, time.Nanosecond)
	report.TableLen = table.Len()
	report.BytesPerContact = ratio(max(liveBytes()-before, 0), float64(report.TableLen))
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	j.say("%d times the %d nearest of a random key", queries, routing.DefaultK)
	dst := make([]contact, 0, routing.DefaultK)
	meter = start()
	allocated := mallocs()
	for i := range targets {
		dst = table.AppendNearest(dst[:0], targets[i], routing.DefaultK)
	}
	cost, allocated := meter.stop(), mallocs()-allocated
	report.PerNearest = cost.per(queries, time.Nanosecond)
	// To a thousandth: the runtime itself allocates now and then.
	report.AllocsPer = math.Round(float64(allocated)/float64(queries)*1000) / 1000
	runtime.KeepAlive(newcomers)
	return report, ctx.Err()
}

// randomKey returns a random 256-bit key.
func randomKey(r *rand.Rand) (key [32]byte) {
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], r.Uint64())
	}
	return key
}

// liveBytes returns the size of the heap after collections: two, since what a
// pool holds survives one.
func liveBytes() float64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}

// mallocs returns how often this process has allocated.
func mallocs() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Mallocs
}
