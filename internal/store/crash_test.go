package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// The machine stops during a commit, and any part of the writes since the last sync is on the
// disk: the store holds exactly the records that it held before. bbolt syncs the pages, then writes the head, then syncs that; so a crash leaves
// the old head with any of the new pages, or all of them with either head.
func TestCrashInAnyCommit(t *testing.T) {
	withoutSync(t)
	d, path := newDisk(t, Limits{Records: 60})
	d.db.AllocSize = pageSize
	crashed := filepath.Join(t.TempDir(), "crashed")
	rnd := rand.New(rand.NewPCG(1, 2))
	now := noon
	for step := range 120 {
		now = now.Add(time.Duration(rnd.IntN(100)) * time.Second)
		file, state := snapshot(t, d, path, now)
		switch rnd.IntN(6) {
		case 0:
			d.Expire(now)
		case 1:
			if err := d.Save(fmt.Sprint("state ", rnd.IntN(3)), make([]byte, rnd.IntN(9000))); err != nil {
				t.Fatal(err)
			}
		default:
			var batch []Item
			for range 1 + rnd.IntN(8) {
				i := rnd.IntN(100)
				life := time.Duration(1+rnd.IntN(60)) * time.Minute
				value := strings.Repeat("v", rnd.IntN(3000))
				r := open(t, i, i%8, uint64(step), now.Add(life), value)
				if i%2 == 0 {
					r = owned(t, fmt.Sprint(i), i%8, uint64(step), now.Add(life), value)
				}
				batch = append(batch, Item{Record: r})
			}
			d.Put(now, batch)
		}
		next, after := snapshot(t, d, path, now)
		for range 4 {
			torn := bytes.Clone(file)
			if len(next) > len(torn) && rnd.IntN(2) == 0 {
				torn = append(torn, make([]byte, len(next)-len(torn))...) // the file has grown; the new part is not written
			}
			for at := 2 * pageSize; at < len(torn); at += pageSize {
				if rnd.IntN(2) == 0 {
					copy(torn[at:at+pageSize], next[at:])
				}
			}
			wantState(t, crashed, torn, now, state, fmt.Sprintf("step %d, some pages", step))
		}
		whole := bytes.Clone(next)
		copy(whole[:2*pageSize], file)
		wantState(t, crashed, whole, now, state, fmt.Sprintf("step %d, all pages and the old head", step))
		wantState(t, crashed, next, now, after, fmt.Sprintf("step %d, done", step))
	}
}

// snapshot returns the file and its contents.
func snapshot(t *testing.T, d *Disk, path string, now time.Time) ([]byte, map[string]string) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, stateOf(t, d, now)
}

func stateOf(t *testing.T, d *Disk, now time.Time) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for h := range d.All(now) {
		r := d.Load(now, h)
		if r == nil {
			t.Fatalf("%+v is lost", h)
		}
		m[name(r)] = string(wire.AppendSigned(nil, r)) + h.Until.String()
	}
	names, err := d.Names("")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		data, err := d.Saved(n)
		if err != nil {
			t.Fatal(err)
		}
		m[n] = string(data)
	}
	return m
}

func wantState(t *testing.T, path string, file []byte, now time.Time, want map[string]string, why string) {
	t.Helper()
	mutant(t, path, file)
	d := mustOpen(t, path, Limits{}, now)
	defer d.Close()
	if got := stateOf(t, d, now); !maps.Equal(got, want) || d.Report().Damaged > 0 {
		t.Fatalf("%s: %d records and states, want %d; %v", why, len(got), len(want), d.Report())
	}
}
