package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Three rounds soon, then each five minutes while nothing is known; each half an hour
// once it is. Who comes in unbidden stands in for a round.
func TestWhenRoundsAreDue(t *testing.T) {
	at := netip.MustParseAddrPort("8.8.8.8:1")
	start := time.Unix(1e9, 0)
	r := NewRounds()
	now := start
	want := func(v Verdict, after time.Duration) {
		t.Helper()
		if after > 0 && r.Begin(at, v, now.Add(after-1), false) {
			t.Errorf("a round before %v are over", after)
		}
		now = now.Add(after)
		if !r.Begin(at, v, now, false) {
			t.Errorf("no round after %v", after)
		}
		if r.Begin(at, v, now.Add(time.Hour), true) {
			t.Error("two rounds at a time")
		}
		if running, last := r.State(); !running || !last.Equal(now) {
			t.Errorf("running %v, since %v", running, last)
		}
		r.End(at)
	}
	progress := func(want Progress) {
		t.Helper()
		if got := r.Progress([]netip.AddrPort{at}); got != want {
			t.Errorf("progress %+v, want %+v", got, want)
		}
	}
	progress(Progress{Trying: true})
	want(Verdict{}, 0)
	progress(Progress{})
	want(Verdict{}, askSoon)
	progress(Progress{})
	want(Verdict{}, askSoon)
	progress(Progress{Thorough: true})
	want(Verdict{}, askUnsure)
	yes := Verdict{yes: now}
	want(yes, askSure)
	if yes.yes = now.Add(time.Minute); r.Begin(at, yes, now.Add(askSure), false) {
		t.Error("a round half an hour after the last, though somebody came in since")
	}
	if !r.Begin(at, yes, now.Add(2*time.Minute), true) {
		t.Error("what is forced is not done")
	}
	r.End(at)
	if r.IsNew(at) {
		t.Error("it is new")
	}
	if r.Keep(nil); !r.IsNew(at) {
		t.Error("what is none of ours is not forgotten")
	}
}

func TestWhoWasAsked(t *testing.T) {
	r, now := NewRounds(), time.Unix(1e9, 0)
	r.Asks(wire.PeerID{1}, now)
	if !r.WasAsked(wire.PeerID{1}) || r.WasAsked(wire.PeerID{2}) {
		t.Error("another was asked")
	}
	if r.Asks(wire.PeerID{2}, now.Add(askedLife+1)); r.WasAsked(wire.PeerID{1}) {
		t.Error("it is never forgotten")
	}
}
