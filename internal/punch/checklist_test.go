package punch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// punchable reports whether a pair finds a path: all do but those where one side has random
// ports and the other cannot search for them, as its mapping is endpoint-dependent.
func punchable(a, b natKind) bool {
	unknowable := func(x, y natKind) bool { return x.mapping == random && y.mapping >= sequential }
	return !unknowable(a, b) && !unknowable(b, a)
}

func TestEveryPairOfNATs(t *testing.T) {
	for _, a := range kinds {
		for _, b := range kinds {
			for _, known := range []bool{true, false} {
				// Behind such a NAT, the callee's first packets change the caller's
				// mapping: the caller must know the callee's address beforehand.
				if !known && a.open && b.filtering != anyone {
					continue
				}
				name := fmt.Sprintf("%s, %s, known=%v", a.name, b.name, known)
				w := newWorld(t, a, b, 7)
				w.call(known, 12*time.Second)
				start := time.Unix(1e9, 0)
				if !punchable(a, b) {
					if !w.a.found.IsZero() || !w.b.found.IsZero() {
						t.Errorf("%s: a path, though none is possible", name)
					}
					continue
				}
				if w.a.found.IsZero() || w.b.found.IsZero() {
					t.Errorf("%s: no path: a %v, b %v", name, w.a.found, w.b.found)
					continue
				}
				limit := 240 * time.Millisecond // 3 RTT
				if a.mapping == random || b.mapping == random {
					limit = 8 * time.Second
				} else if known && a.mapping <= independent && b.mapping <= independent {
					limit = 160 * time.Millisecond
				}
				if took := w.a.found.Sub(start); took > limit {
					t.Errorf("%s: %v, want at most %v", name, took, limit)
				}
				if took := w.b.found.Sub(start); took > limit+80*time.Millisecond {
					t.Errorf("%s: callee: %v, want at most %v", name, took, limit+80*time.Millisecond)
				}
			}
		}
	}
}

// Checks find a path though one packet in ten is lost.
func TestChecksSurviveLoss(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, kinds[4], kinds[4], seed)
		w.loss = 0.1
		w.call(true, 2*time.Second)
		if w.a.found.IsZero() || w.b.found.IsZero() {
			t.Errorf("seed %d: no path", seed)
		}
	}
}

// Of 200 port searches the median takes less than 2 s, and 99 % less than 10 s, also with a
// NAT that lets an unsolicited packet take the port.
func TestPortSearchTakesSeconds(t *testing.T) {
	symmetric := kinds[7]
	for _, c := range []struct{ a, b natKind }{
		{symmetric, kinds[4]}, {kinds[4], symmetric}, {symmetric, kinds[5]}, {kinds[5], symmetric},
	} {
		var took []time.Duration
		packets := 0
		for seed := range uint64(200) {
			w := newWorld(t, c.a, c.b, seed)
			w.call(false, 15*time.Second)
			d := time.Hour
			if !w.a.found.IsZero() && !w.b.found.IsZero() {
				d = w.a.found.Sub(time.Unix(1e9, 0))
			}
			took = append(took, d)
			packets += (w.a.spent + w.b.spent) / (Size + 28)
		}
		slices.Sort(took)
		t.Logf("%s, %s: median %v, 99 %% %v, worst %v; %d packets", c.a.name, c.b.name, took[100], took[197], took[199], packets/200)
		if took[100] > 2*time.Second || took[197] > 10*time.Second {
			t.Errorf("%s, %s: median %v, 99 %% %v", c.a.name, c.b.name, took[100], took[197])
		}
	}
}

// A path is quiet 600 ms after an unanswered PING, is valid again after an answer, and is given
// up when no answer has come for half a minute.
func TestPathExpiresWithoutConsent(t *testing.T) {
	w := newWorld(t, kinds[0], kinds[4], 1)
	w.call(true, time.Second)
	if !w.a.s.State(w.now).Found {
		t.Fatal("no path")
	}
	w.run(time.Minute)
	if s := w.a.s.State(w.now); !s.Found || s.Quiet || s.RTT != 2*delay {
		t.Fatalf("after a minute: %+v", s)
	}
	w.a.s.SetTalking(w.now, true)
	w.a.step()
	w.run(5 * time.Second)
	w.loss = 1
	var quiet time.Duration
	for ; quiet < 10*time.Second && !w.a.s.State(w.now).Quiet; quiet += 10 * time.Millisecond {
		w.run(10 * time.Millisecond)
	}
	if most := talkGap + silence + 20*time.Millisecond; quiet > most {
		t.Errorf("quiet after %v, want at most %v", quiet, most)
	}
	w.loss = 0
	w.run(time.Second)
	if w.a.s.State(w.now).Quiet {
		t.Error("quiet, though it answers again")
	}
	w.loss = 1
	w.run(time.Minute)
	if w.a.s.State(w.now).Found || !w.a.s.Done(w.now) {
		t.Error("a path without answers is still valid")
	}
}

// A better path replaces the first one within 300 ms, and not later.
func TestBetterPathIsNominated(t *testing.T) {
	for _, c := range []struct {
		second string
		after  time.Duration
		want   string
	}{
		{"192.168.1.2:4001", 100 * time.Millisecond, "192.168.1.2:4001"},
		{"[2001:db8::2]:4001", 100 * time.Millisecond, "[2001:db8::2]:4001"},
		{"3.3.3.3:4001", 100 * time.Millisecond, "2.2.2.2:4001"},
		{"192.168.1.2:4001", 400 * time.Millisecond, "2.2.2.2:4001"},
	} {
		p := newPair(t)
		p.a.AddCandidates(p.now, false, addr("2.2.2.2:4001"), addr(c.second))
		pings := p.step(p.a)
		p.now = p.now.Add(20 * time.Millisecond)
		p.answer(pings[addr("2.2.2.2:4001")], addr("2.2.2.2:4001"))
		if got := p.a.State(p.now).Path.Addr; got != addr("2.2.2.2:4001") {
			t.Fatalf("first path: %v", got)
		}
		p.now = p.now.Add(c.after)
		p.answer(pings[addr(c.second)], addr(c.second))
		if got := p.a.State(p.now).Path.Addr; got != addr(c.want) {
			t.Errorf("%s after %v: path %v, want %v", c.second, c.after, got, c.want)
		}
	}
}

// The schedule of the probes to one candidate, and to a guess, in milliseconds.
func TestScheduleOfProbes(t *testing.T) {
	p := newPair(t)
	p.a.AddCandidates(p.now, false, addr("2.2.2.2:4001"))
	p.a.AddCandidates(p.now, true, addr("2.2.2.2:5000"))
	start := p.now
	var sure, guess []string
	for i := 0; ; i++ {
		next := p.a.Step(p.now, func(to Endpoint, b []byte) {
			at := fmt.Sprint(p.now.Sub(start).Milliseconds())
			if to.Addr.Port() == 5000 {
				guess = append(guess, at)
			} else {
				sure = append(sure, at)
			}
		})
		if next.IsZero() {
			break
		}
		p.now = next
	}
	if got, want := strings.Join(sure, " "), "0 20 40 60 80 100 120 140 160 180 200 225 256 295 344 405 481 576 696 845 1031 1264 1555 1918 2373 2942 3652 4540"; got != want {
		t.Errorf("probes at\n%s ms, want\n%s", got, want)
	}
	if got, want := strings.Join(guess, " "), "0 150 300 450 600 750"; got != want {
		t.Errorf("probes of a guess at\n%s ms, want\n%s", got, want)
	}
}
