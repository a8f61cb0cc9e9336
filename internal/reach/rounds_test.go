package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Three rounds follow soon, then one every five minutes without a verdict, and one every half
// hour with one. An unsolicited connection replaces a round.
func TestWhenRoundsAreDue(t *testing.T) {
	at := netip.MustParseAddrPort("8.8.8.8:1")
	start := time.Unix(1e9, 0)
	r := NewRounds()
	now := start
	want := func(v Verdict, after time.Duration) {
		t.Helper()
		if after > 0 && r.Begin(at, v, false, now.Add(after-1), false) {
			t.Errorf("a round before %v are over", after)
		}
		now = now.Add(after)
		if !r.Begin(at, v, false, now, false) {
			t.Errorf("no round after %v", after)
		}
		if r.Begin(at, v, false, now.Add(time.Hour), true) {
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
	if yes.yes = now.Add(time.Minute); r.Begin(at, yes, false, now.Add(askSure), false) {
		t.Error("a round half an hour after the last, though somebody came in since")
	}
	if !r.Begin(at, yes, false, now.Add(2*time.Minute), true) {
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

func TestAskedPeersAreRemembered(t *testing.T) {
	r, now := NewRounds(), time.Unix(1e9, 0)
	r.Asks(wire.PeerID{1}, now)
	if !r.WasAsked(wire.PeerID{1}) || r.WasAsked(wire.PeerID{2}) {
		t.Error("another was asked")
	}
	if r.Asks(wire.PeerID{2}, now.Add(askedLife+1)); r.WasAsked(wire.PeerID{1}) {
		t.Error("it is never forgotten")
	}
}

// What a router maps is tried more often, and every address soon again when a peer could
// not connect where others have, for a while.
func TestWhenRoundsOfDoubtAreDue(t *testing.T) {
	at, start := netip.MustParseAddrPort("8.8.8.8:1"), time.Unix(1e9, 0)
	begins := func(r *Rounds, v Verdict, mapped bool, now time.Time) bool {
		ok := r.Begin(at, v, mapped, now, false)
		if ok {
			r.End(at)
		}
		return ok
	}
	for _, mapped := range []bool{false, true} {
		r, yes := NewRounds(), Verdict{yes: start}
		r.Begin(at, yes, mapped, start, true)
		r.End(at)
		if got := begins(r, yes, mapped, start.Add(askMapped)); got != mapped {
			t.Errorf("mapped %v: a round after %v: %v", mapped, askMapped, got)
		}
		now := start.Add(askSure)
		if !mapped && !begins(r, yes, mapped, now) {
			t.Errorf("no round after %v", askSure)
		}
		doubt := yes.failed(wire.PeerID{1}, SiteOf(ipv4(9, 1, 1, 1)), now)
		rounds := 0
		for i := range int(askUnsure / time.Second) {
			if begins(r, doubt, mapped, now.Add(time.Duration(i)*time.Second)) {
				rounds++
			}
		}
		if least := int(askAgainst/askSoon) - 1; rounds < least || rounds > least+2 {
			t.Errorf("mapped %v: %d rounds while there is a doubt", mapped, rounds)
		}
	}
}
