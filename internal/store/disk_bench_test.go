package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// roomy has limits large enough for the benchmarks.
var roomy = Limits{Bytes: 1 << 30, Records: 200_000, SourceBytes: 1 << 30}

// halfK returns n open records of 512 bytes under random keys.
func halfK(b testing.TB, n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Source: from(i%5000, 1), Record: sign(b, wire.Record{
			Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Seq: 1, Expiry: after(20 * time.Hour), Value: make([]byte, 512),
		}, i%len(publishers))}
	}
	return items
}

// resident returns the process's heap in use, and on Linux its resident memory: anonymous,
// and of mapped files.
func resident() (heap, anon, file float64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		var kB float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %f kB", &kB); n == 1 {
			anon = kB * 1024
		}
		if n, _ := fmt.Sscanf(line, "RssFile: %f kB", &kB); n == 1 {
			file = kB * 1024
		}
	}
	return float64(m.HeapAlloc), anon, file
}

// BenchmarkDisk measures a store of many records of 512 bytes: the rate of Puts,
// each synced, by the size of the batch; the time of a Get; the time to open it; and its
// memory then and after a read of every record.
func BenchmarkDisk(b *testing.B) {
	const n = 100_000
	path := filepath.Join(b.TempDir(), "store")
	var keys []routing.Key
	{
		d := mustOpen(b, path, roomy, noon)
		items := halfK(b, n)
		for _, it := range items {
			keys = append(keys, it.Record.Record.Key)
		}
		for _, size := range []int{1, 16, 64} { // a part of the records each
			b.Run(fmt.Sprintf("Put/batch=%d", size), func(b *testing.B) {
				puts := 0
				for b.Loop() {
					if len(items) < size {
						b.Fatal("no more records")
					}
					for _, err := range d.Put(noon, items[:size]) {
						if err != nil {
							b.Fatal(err)
						}
					}
					items = items[size:]
					puts += size
				}
				b.ReportMetric(float64(puts)/b.Elapsed().Seconds(), "records/s")
			})
		}
		start, rest := time.Now(), len(items)
		for len(items) > 0 {
			size := min(1024, len(items))
			d.Put(noon, items[:size])
			items = items[size:]
		}
		if took := time.Since(start); rest > 0 {
			b.Logf("the other %d in batches of 1024: %.0f records/s", rest, float64(rest)/took.Seconds())
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
	heap0, anon0, file0 := resident()
	start := time.Now()
	d := mustOpen(b, path, roomy, noon)
	took := time.Since(start)
	heap, anon, file := resident()
	report := d.Report()
	b.Logf("opened in %v: %v", took.Round(time.Millisecond), report)
	b.Logf("memory over an empty process: heap %.1f MB (%.0f B a record), RssAnon %.1f MB, RssFile %.1f MB",
		(heap-heap0)/1e6, (heap-heap0)/float64(report.Records), (anon-anon0)/1e6, (file-file0)/1e6)
	for _, k := range keys {
		d.Get(noon, wire.KindOpen, k, 4)
	}
	_, anon, file = resident()
	b.Logf("after every record was read: RssAnon %.1f MB, RssFile %.1f MB", (anon-anon0)/1e6, (file-file0)/1e6)
	d.Expire(noon)
	_, anon, file = resident()
	b.Logf("and after the next Expire: RssAnon %.1f MB, RssFile %.1f MB", (anon-anon0)/1e6, (file-file0)/1e6)
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if len(d.Get(noon, wire.KindOpen, keys[i*7919%n], 4)) == 0 {
				b.Fatal("not there")
			}
		}
	})
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			for range d.All(noon) {
			}
		}
	})
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
			d = mustOpen(b, path, roomy, noon)
		}
	})
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("Salvage", func(b *testing.B) {
		for b.Loop() {
			os.Remove(path + "2")
			if r, err := Salvage(path, path+"2", noon); err != nil || r.Records != n {
				b.Fatal(r, err)
			}
		}
	})
}
