package reach

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Of three public nodes three failures count as soon as each has named another node, in any
// order and combination. A liar counts once, no matter which peers it names.
func TestThreeNodesAreEnough(t *testing.T) {
	now := time.Unix(1e9, 0)
	network := func(i byte) netip.Prefix { return SiteOf(ipv4(9, i, 1, 1)) }
	says := func(v Verdict, via, by byte) Verdict { return v.failed(wire.PeerID{by}, network(via), now) }
	v := says(says(Verdict{}, 1, 2), 2, 1)
	if v = says(says(v, 3, 1), 3, 2); v.Failures() != 2 {
		t.Errorf("nobody but two has dialled: %d count", v.Failures())
	}
	if v = says(v, 1, 3); v.Failures() != 3 || v.Answer() != No {
		t.Errorf("each has named another: %d count", v.Failures())
	}
	v = Verdict{}
	for i := range byte(50) {
		v = says(v, 1, 100+i)
	}
	if v.Failures() != 1 || len(v.failures) > maxFailures {
		t.Errorf("a liar counts %d times, %d are remembered", v.Failures(), len(v.failures))
	}
	v = Verdict{}
	for i := range byte(50) {
		v = says(v, i, 100)
	}
	if v.Failures() != 1 {
		t.Errorf("one whom nobody can be reached by counts %d times", v.Failures())
	}
}

// However three nodes choose, three count within a few rounds.
func TestThreeNodesDecideSoon(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0
	for range 1000 {
		var v Verdict
		asked := 0
		for ; v.Answer() != No && asked < 100; asked++ {
			via := r.IntN(3)
			by := (via + 1 + r.IntN(2)) % 3
			v = v.failed(wire.PeerID{byte(by)}, SiteOf(ipv4(9, byte(via), 1, 1)), now)
		}
		worst = max(worst, asked)
	}
	if t.Logf("%d questions at most", worst); worst > 50 {
		t.Errorf("three nodes were asked %d times", worst)
	}
}

// A no that is said again counts from then on.
func TestNoesAreRenewed(t *testing.T) {
	now := time.Unix(1e9, 0)
	via := SiteOf(ipv4(9, 1, 1, 1))
	v := Verdict{}.failed(wire.PeerID{1}, via, now)
	v = v.failed(wire.PeerID{1}, via, now.Add(noLife/2))
	if late := now.Add(noLife + time.Second); v.fresh(late) != 1 || v.fresh(late.Add(noLife)) != 0 {
		t.Errorf("an hour after the first: %d, and after the second: %d", v.fresh(late), v.fresh(late.Add(noLife)))
	}
}
