package field

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// The time that reboots and moves may cost a conversation. A busy machine takes longer:
// without -field.strict the times may be longer by busyFactor. No connection may be lost in
// either case.
const (
	gapMedian  = 1200 * time.Millisecond
	gapP99     = 3 * time.Second
	gapWorst   = 5 * time.Second
	busyFactor = 4
)

// NATs reboot and hosts move, again and again, during one conversation. With -field.all
// there are 100 reboots and 40 moves.
func TestTalkThroughManyRebootsAndMoves(t *testing.T) {
	reboots, moves := 3, 3
	if *all {
		reboots, moves = 100, 40
	}
	n := build(t, 4, far)
	k := n.two(n.Home("alice", natlab.PortRestricted), n.Home("bob", natlab.Linux))
	homes := map[*peer][2]*natlab.NAT{
		k.caller: {k.caller.NAT(), n.NAT("alice-elsewhere", natlab.Linux)},
		k.callee: {k.callee.NAT(), n.NAT("bob-elsewhere", natlab.PortRestricted)},
	}
	gaps := make(map[string]times)
	var every times
	happens := func(what string, do func(p *peer), who ...*peer) {
		t.Helper()
		began := time.Now()
		k.goesBy("straight", straight)
		again := time.Since(began)
		k.goesOn(6 * time.Second) // otherwise the node treats the path as one that breaks all the time
		k.worst()                 // earlier gaps do not count
		for _, p := range who {
			do(p)
		}
		k.goesOn(3 * time.Second)
		gap := k.worst()
		t.Logf("%s: gap %v; the path was direct %v after the one before was over", what, ms(gap), ms(again))
		gaps[what], every = append(gaps[what], gap), append(every, gap)
	}
	parties := [][]*peer{{k.caller}, {k.callee}, {k.caller, k.callee}}
	names := []string{"caller", "callee", "both"}
	for i := range reboots {
		happens("NAT reboots, "+names[i%3], func(p *peer) { p.NAT().Reset() }, parties[i%3]...)
	}
	for i := range moves {
		happens("host moves, "+names[i%3], func(p *peer) {
			to := homes[p][0]
			if p.NAT() == to {
				to = homes[p][1]
			}
			p.Move(to)
		}, parties[i%3]...)
	}
	for what, g := range gaps {
		t.Logf("%s: %v", what, g)
	}
	caller, _ := k.end(fmt.Sprintf("%d reboots and %d moves", reboots, moves))
	if caller.Dials != 1 {
		t.Errorf("it took %d streams: %q", caller.Dials, caller.Errs)
	}
	factor := time.Duration(busyFactor)
	if *strict {
		factor = 1
	}
	t.Logf("longest gaps: p50 %v, p99 %v, worst %v", ms(every.median()), ms(every.quantile(.99)), ms(every.worst()))
	for _, bar := range []struct {
		what      string
		got, most time.Duration
	}{{"p50", every.median(), gapMedian}, {"p99", every.quantile(.99), gapP99}, {"worst", every.worst(), gapWorst}} {
		if bar.got > factor*bar.most {
			t.Errorf("longest gap, %s: %v, want at most %v", bar.what, ms(bar.got), factor*bar.most)
		}
	}
}

// worst returns the longest gap on either side since the last call of worst.
func (k *talk) worst() (gap time.Duration) {
	k.t.Helper()
	for _, p := range []*peer{k.caller, k.callee} {
		var g time.Duration
		p.must(order{Do: "gap", Of: k.of}, &g)
		gap = max(gap, g)
	}
	return gap
}
