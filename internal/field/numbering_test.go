package field

import (
	"slices"
	"testing"
	"time"
)

// A talk is a numbering in progress.
type talk struct {
	t              *testing.T
	caller, callee *peer
	of             uint64
}

// talks begins a numbering, and returns when numbers come back.
func talks(t *testing.T, caller, callee *peer) *talk {
	t.Helper()
	k := &talk{t: t, caller: caller, callee: callee}
	caller.must(order{Do: "number", Peer: callee.ID}, &k.of)
	k.goesOn(time.Second)
	return k
}

func (k *talk) report(p *peer) tally {
	k.t.Helper()
	var got tally
	p.must(order{Do: "report", Of: k.of}, &got)
	return got
}

// goesOn waits until the numbers of the given time have come back.
func (k *talk) goesOn(more time.Duration) {
	k.t.Helper()
	from := k.report(k.caller).Came
	k.until("numbers come back", func(t tally) bool { return t.Came >= from+uint64(more/numberEvery) })
}

// goesBy waits until the caller's path meets a condition.
func (k *talk) goesBy(what string, suits func(path string) bool) {
	k.t.Helper()
	k.until("numbers go "+what, func(t tally) bool { return suits(t.Path) })
}

// relay waits until the caller's path uses a relay, and returns that relay.
func (k *talk) relay(n *network) (by *peer) {
	k.t.Helper()
	k.goesBy("by relay", func(path string) bool {
		i := slices.IndexFunc(n.public, func(p *peer) bool { return path == relayedBy(p) })
		if i >= 0 {
			by = n.public[i]
		}
		return i >= 0
	})
	return by
}

// until waits until the caller's tally meets a condition.
func (k *talk) until(what string, suits func(tally) bool) {
	k.t.Helper()
	if !holds(func() bool { return suits(k.report(k.caller)) }) {
		k.t.Fatalf("not within %v: %s\nthe caller has %+v and is %+v\nthe callee has %+v and is %+v", patience, what,
			k.report(k.caller), k.caller.state(), k.report(k.callee), k.callee.state())
	}
}

// end ends the talk, and checks that no number was lost or doubled.
func (k *talk) end(what string) (caller, callee tally) {
	k.t.Helper()
	k.caller.must(order{Do: "enough", Of: k.of}, &caller)
	callee = k.report(k.callee)
	for _, got := range []tally{caller, callee} {
		if len(got.Wrong) > 0 {
			k.t.Errorf("%s: numbers are lost or doubled: %v", what, got.Wrong)
		}
	}
	if callee.Came < caller.Came {
		k.t.Errorf("%s: %d came back of %d that came", what, caller.Came, callee.Came)
	}
	k.t.Logf("%s: %d numbers there and back, none lost or doubled, by %d streams %q; longest gap %v there, %v back; path %s",
		what, caller.Came, caller.Dials, caller.Errs, ms(callee.Gap), ms(caller.Gap), caller.Path)
	return caller, callee
}

// Peers without a NAT: the baseline of the other tests.
func TestNumbers(t *testing.T) {
	n := build(t, 3, far)
	a, b := n.public[1], n.public[2]
	k := talks(t, a, b)
	k.goesOn(time.Second)
	caller, _ := k.end("between public nodes")
	if caller.Dials != 1 {
		t.Errorf("it took %d streams", caller.Dials)
	}
}

// A broken stream causes a gap and no loss.
func TestNumbersAcrossStreams(t *testing.T) {
	n := build(t, 3, far)
	a, b := n.public[1], n.public[2]
	k := talks(t, a, b)
	for i := range 6 {
		was := k.report(a).Dials
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		from.must(order{Do: "hang up", Peer: to.ID}, nil)
		k.until("another stream", func(t tally) bool { return t.Dials > was })
		k.goesOn(400 * time.Millisecond)
	}
	k.end("hung up six times")
}
