package store

import (
	"testing"
	"time"
	"unsafe"

	"github.com/kadquic/kadquic/wire"
)

// jumped returns t, from time.Now, as if the wall clock had been set by d, in whole seconds.
// The monotonic clock does not change.
func jumped(t time.Time, d time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t)) // 1 bit, 33 of seconds, 30 of nanoseconds
	*wall += uint64(d/time.Second) << 30
	return t
}

func TestJumped(t *testing.T) {
	now := time.Now()
	then := jumped(now, -48*time.Hour)
	if own, wall := then.Sub(now), then.Round(0).Sub(now.Round(0)); own != 0 || wall != -48*time.Hour {
		t.Fatalf("by the own clock %v, by the wall clock %v", own, wall)
	}
}

// The wall clock is set while the process runs, forward or back, and perhaps corrected. No
// record ends sooner or lives longer, neither before nor after a restart.
func TestClockJumpsWhileWeRun(t *testing.T) {
	for name, by := range map[string]time.Duration{"a day ahead": 30 * time.Hour, "a year ahead": 365 * 24 * time.Hour, "a day back": -30 * time.Hour, "hours back": -5 * time.Hour, "a year back": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			d, path := newDisk(t, Limits{})
			d.Close()
			start := time.Now()
			d = mustOpen(t, path, Limits{}, start)
			r, cached := open(t, 1, 0, 1, start.Add(10*time.Hour), "v"), open(t, 2, 0, 1, start.Add(10*time.Hour), "cached")
			older, newer := owned(t, "n", 0, 4, start.Add(5*time.Hour), "older"), owned(t, "n", 0, 5, start.Add(5*time.Hour), "newer")
			wantPut(t, d, start, r, wire.CodeOK)
			wantPut(t, d, start, newer, wire.CodeOK)
			wantPutItem(t, d, start, Item{Record: cached, Cached: true, Life: time.Hour}, wire.CodeOK)

			now := jumped(start.Add(30*time.Minute), by)
			if n := d.Expire(now); n != 0 {
				t.Errorf("%d records ended with the jump", n)
			}
			wantGet(t, d, now, r, r)
			wantPut(t, d, now, open(t, 3, 0, 1, now.Round(0).Add(time.Hour), "by the wrong clock"), wire.CodeOK)
			d.Expire(now)

			right := start.Add(time.Hour)
			for what, now := range map[string]time.Time{"right": right, "wrong": jumped(right, by)} {
				wantGet(t, d, now, r, r)
				wantGet(t, d, now.Add(9*time.Hour-time.Millisecond), r, r)
				wantGet(t, d, now.Add(9*time.Hour), r)
				wantGet(t, d, now.Add(-1), cached, cached)
				wantGet(t, d, now, cached)
				if t.Failed() {
					t.Fatalf("by the %s clock", what)
				}
			}
			d = again(t, d, right.Round(0)) // the clock is set right by then
			wantGet(t, d, right.Round(0), r, r)
			wantGet(t, d, right.Round(0).Add(9*time.Hour+time.Second), r)
			wantPut(t, d, right.Round(0), older, wire.CodeStale)
		})
	}
}
