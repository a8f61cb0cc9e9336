package bench

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// StoreReport is the cost of keeping records on disk. A put counts when it is synced.
type StoreReport struct {
	Shape
	Dir         string `json:"dir"` // where the file was
	Records     int    `json:"records"`
	RecordBytes int    `json:"record_bytes"` // of each value

	// One record in each of M puts, C at a time.
	PutsPerSecond float64 `json:"puts_per_s"`
	PutP50        float64 `json:"put_p50_ms"`
	PutP99        float64 `json:"put_p99_ms"`

	// The other records, as many in each put as in a STORE.
	BatchedPerSecond float64 `json:"batched_records_per_s"`
	BatchedCPU       float64 `json:"batched_cpu_us_per_record"`

	GetP50 float64 `json:"get_p50_us"`
	GetP99 float64 `json:"get_p99_us"`
	GetCPU float64 `json:"get_cpu_us"`

	Restart   float64 `json:"restart_ms"` // to open the file, every record of it checked
	Heap      float64 `json:"heap_bytes_per_record"`
	Resident  float64 `json:"resident_bytes"` // over the same process without a store, after a restart
	FileBytes int64   `json:"file_bytes"`
}

// storedBytes is the size of the values.
const storedBytes = 512

// storeSlots is the ratio of the store's limits to the records that are put.
const storeSlots = 2

// runStore keeps records in a file of the temporary directory, which must be on the disk to
// measure.
func runStore(ctx context.Context, j *job) (any, error) {
	dir, err := os.MkdirTemp("", "kad-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	total := max(j.records, j.M)
	report := &StoreReport{Shape: j.shape("store"), Dir: os.TempDir(), Records: total, RecordBytes: storedBytes}
	b := &storeBench{job: j, report: report, path: filepath.Join(dir, "node.db")}
	j.say("%d records of %d bytes are signed", total, storedBytes)
	if err := b.sign(ctx, total); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{b.fill, b.restart} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return report, nil
}

type storeBench struct {
	job    *job
	report *StoreReport
	path   string
	items  []store.Item
}

func (b *storeBench) open() (*store.Disk, error) {
	n := storeSlots * len(b.items)
	return store.Open(b.path, store.Options{Now: time.Now(), Limits: store.Limits{
		Bytes: int64(n) * (storedBytes + 2*store.Overhead), Records: n,
	}})
}

// sign makes the records, under random keys.
func (b *storeBench) sign(ctx context.Context, total int) error {
	choose := b.job.rand(7)
	seed := randomKey(choose)
	key := ed25519.NewKeyFromSeed(seed[:])
	expiry := time.Now().Add(wire.MaxTTL)
	value := make([]byte, storedBytes)
	for range total {
		r, err := wire.Sign(wire.Record{Kind: wire.KindOpen, Key: randomKey(choose), Seq: 1, Expiry: expiry, Value: value}, key)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		b.items = append(b.items, store.Item{Record: r})
	}
	return nil
}

// fill puts them: some one by one, by many callers, and the rest by one caller in
// batches.
func (b *storeBench) fill(ctx context.Context) error {
	d, err := b.open()
	if err != nil {
		return err
	}
	defer d.Close()
	single, batched := b.items[:b.job.M], b.items[b.job.M:]

	b.job.say("%d puts of one record, %d at a time", len(single), b.job.C)
	took := make(latencies, len(single))
	errs := make([]error, b.job.C)
	var wg sync.WaitGroup
	meter := start()
	for c := range b.job.C {
		wg.Go(func() {
			for i := c; i < len(single) && errs[c] == nil && ctx.Err() == nil; i += b.job.C {
				began := time.Now()
				errs[c] = d.Put(began, single[i:i+1])[0]
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return err
	}
	b.report.PutsPerSecond = meter.stop().perSecond(len(single))
	b.report.PutP50, b.report.PutP99 = took.quantile(0.5, time.Millisecond), took.quantile(0.99, time.Millisecond)

	b.job.say("%d records in puts of %d", len(batched), wire.MaxStore)
	meter = start()
	for rest := batched; len(rest) > 0; rest = rest[min(wire.MaxStore, len(rest)):] {
		err := errors.Join(d.Put(time.Now(), rest[:min(wire.MaxStore, len(rest))])...)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
	spent := meter.stop()
	b.report.BatchedPerSecond, b.report.BatchedCPU = spent.perSecond(len(batched)), spent.per(len(batched), time.Microsecond)
	return d.Close()
}

// restart opens the store again, and gets its records.
func (b *storeBench) restart(ctx context.Context) error {
	b.job.say("restart, and gets of every record")
	heap, resident := liveBytes(), residentBytes()
	meter := start()
	d, err := b.open()
	if err != nil {
		return err
	}
	defer d.Close()
	b.report.Restart = round(meter.stop().wall.Seconds() * 1000)
	b.report.Heap = ratio(max(liveBytes()-heap, 0), float64(len(b.items)))
	b.report.Resident = round(max(residentBytes()-resident, 0))
	if b.report.Records = d.Len(); b.report.Records != len(b.items) {
		return fmt.Errorf("%d records are there after a restart, of %d that were put", b.report.Records, len(b.items))
	}
	b.report.FileBytes = d.Report().Bytes

	took := make(latencies, len(b.items))
	order := b.job.rand(8).Perm(len(b.items))
	meter = start()
	for i, at := range order {
		r := b.items[at].Record.Record
		began := time.Now()
		found := d.Get(began, r.Kind, r.Key, 1)
		took[i] = time.Since(began)
		if len(found) != 1 {
			return fmt.Errorf("a record that was put is not found")
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	b.report.GetCPU = meter.stop().per(len(order), time.Microsecond)
	b.report.GetP50, b.report.GetP99 = took.quantile(0.5, time.Microsecond), took.quantile(0.99, time.Microsecond)
	return d.Close()
}
