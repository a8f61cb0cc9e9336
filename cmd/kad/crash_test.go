package main

import (
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/store"
)

var crashCycles = flag.Int("crash.cycles", 4, "how often TestKilled kills a node")

// A node that is killed while others store at it has, when it is started again, all
// that it said it had stored: each record with that value or a newer one. That is
// looked at after every restart for a sample, at the end for all, by the network;
// and the database is whole after every kill. It is killed at any moment: while it
// starts, right after, or later; and every tenth time it is a node that never ran
// before.
//
//	go test ./cmd/kad -run TestKilled -v -timeout 1h -crash.cycles 1000
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs and kills processes")
	}
	v := newVictim(t, 24_000)
	var births int
	for i := range *crashCycles {
		if i%10 == 3 {
			births++
			child := newVictim(t, 1000)
			child.start = v.start
			child.live(starting)
			child.live(early)
			child.end()
			v.count(child)
		} else {
			v.live(moment(i % 3))
		}
		if t.Failed() {
			t.Fatalf("in cycle %d", i)
		}
	}
	v.end()
	t.Logf("killed %d times: %d while it started, %d within 100 ms, %d later; %d of them nodes in their first life, %d with puts under way",
		v.kills[starting]+v.kills[early]+v.kills[later], v.kills[starting], v.kills[early], v.kills[later], 2*births, v.busy)
	t.Logf("%d puts, %d acknowledged, %d cut off; %d records checked at the end, %d gets on the way, %d databases found whole",
		v.tried, v.kept, v.lost, len(v.all), v.gets, v.whole)
}

// A moment is when a node is killed.
type moment int

const (
	starting moment = iota
	early           // in the first 100 ms
	later
)

// A victim is a node that is killed again and again.
type victim struct {
	t testing.TB
	*promises
	kad   string // the command
	data  string
	start time.Duration // that it takes to start, about

	kills             [3]int
	busy, gets, whole int
}

func newVictim(t testing.TB, records int) *victim {
	return &victim{t: t, promises: newPromises(t, records), kad: command(t), data: filepath.Join(t.TempDir(), "D"), start: 100 * time.Millisecond}
}

// count adds what happened to w.
func (v *victim) count(w *victim) {
	for i, n := range w.kills {
		v.kills[i] += n
	}
	v.busy, v.gets, v.whole = v.busy+w.busy, v.gets+w.gets, v.whole+w.whole
	v.tried, v.kept, v.lost = v.tried+w.tried, v.kept+w.kept, v.lost+w.lost
}

// live starts the node, stores at it, and kills it.
func (v *victim) live(m moment) {
	began := time.Now()
	d := launch(v.t, v.kad, v.data)
	kill := func(within time.Duration) {
		time.AfterFunc(rand.N(within), func() { d.cmd.Process.Kill() })
	}
	if m == starting {
		kill(v.start * 5 / 4)
	}
	addr, ok := d.address()
	if !ok && m != starting {
		text, _ := d.err.state()
		v.t.Errorf("kad up ended before it began: %v\n%s", d.result, text)
	}
	if ok {
		v.start = (3*v.start + time.Since(began)) / 4
	}
	if m == early {
		kill(100 * time.Millisecond)
	}
	if ok {
		v.store(addr, d, m, kill)
	}
	<-d.ended
	v.kills[m]++
	if err := d.complaint(); err != nil {
		v.t.Error(err)
	}
	v.examine()
}

// store checks what the node at addr has and puts more, until it is killed.
func (v *victim) store(addr string, d *daemon, m moment, kill func(time.Duration)) {
	ctx, cancel := d.alive()
	defer cancel()
	n := v.client(ctx, addr)
	if n == nil {
		if m == later {
			v.t.Errorf("nobody is at %s", addr)
			d.cmd.Process.Kill()
		}
		return
	}
	defer n.Kill()
	if m == later {
		records := v.sample(50, 50)
		v.gets += len(records)
		if err := v.check(ctx, n, records); err != nil {
			v.t.Error(err)
		}
		kill(500 * time.Millisecond)
	}
	before := v.lost
	v.write(ctx, n)
	if v.lost > before {
		v.busy++
	}
}

// examine looks at the database of the dead.
func (v *victim) examine() {
	path := filepath.Join(v.data, "node.db")
	report, err := store.Check(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.kept == 0: // it did not come that far
	case err != nil:
		v.t.Error(err)
	case report.Damaged+report.DamagedStates > 0:
		v.t.Errorf("damaged: %v", report)
	default:
		v.whole++
	}
}

// end starts the node a last time, checks everything, and lets it go.
func (v *victim) end() {
	d := launch(v.t, v.kad, v.data)
	ctx, cancel := d.alive()
	defer cancel()
	addr, ok := d.address()
	if !ok {
		v.t.Fatalf("kad up ended before it began: %v, %v", d.result, d.complaint())
	}
	n := v.client(ctx, addr)
	if n == nil {
		v.t.Fatalf("nobody is at %s", addr)
	}
	defer n.Close()
	if err := v.check(ctx, n, v.everything()); err != nil || ctx.Err() != nil {
		v.t.Errorf("at the end: %v, %v", err, ctx.Err())
	}
	d.cmd.Process.Signal(os.Interrupt)
	<-d.ended
	if d.result != nil || d.complaint() != nil {
		v.t.Errorf("kad up ended with %v, %v", d.result, d.complaint())
	}
	v.examine()
}
