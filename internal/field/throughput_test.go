package field

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/kadquic/kadquic/internal/natlab"
)

// floorPort is the port of the floor.
const floorPort = 4775

// Throughput without delay, compared to the floor. All hosts, also the relay, share this
// machine's processors. A relay bounds the rate of one pair, so the test sends less through
// it. Nothing is asserted.
func TestThroughput(t *testing.T) {
	size, runs := int64(4<<20), 1
	if *all {
		size, runs = 128<<20, 3
	}
	n := build(t, 3)
	a := n.peer(n.Public("a"), setting{})
	b := n.peer(n.Public("b"), setting{Floor: fmt.Sprintf(":%d", floorPort)})
	direct := n.two(n.Home("carol", natlab.Linux), n.Home("dave", natlab.Linux))
	direct.goesBy("straight", straight)
	relayed := n.two(n.Home("erin", natlab.Symmetric), n.Home("frank", natlab.Symmetric))
	a.must(order{Do: "learn", Addrs: b.ticket()}, nil)
	floor := fmt.Sprintf("%v:%d", b.IP4(), floorPort)
	var base float64
	for _, way := range []struct {
		what string
		from *peer
		most int64 // bytes
		o    order
	}{
		{"floor: quic-go", a, size, order{Do: "floor", Addrs: []string{floor}}},
		{"between public nodes", a, size, order{Do: "bulk", Peer: b.ID}},
		{"through two NATs", direct.caller, size, order{Do: "bulk", Peer: direct.callee.ID}},
		{"by relay", relayed.caller, 1 << 20, order{Do: "bulk", Peer: relayed.callee.ID}},
	} {
		var took times
		var h haul
		for range runs {
			way.o.Bytes = min(size, way.most)
			way.from.must(way.o, &h)
			took = append(took, h.Took)
		}
		rate := float64(way.o.Bytes) / slices.Min(took).Seconds()
		base = cmp.Or(base, rate)
		t.Logf("%-21s %6.1f MB/s, %.3f of the floor; %s", way.what, rate/1e6, rate/base, h.Path)
	}
	direct.end("direct")
	relayed.end("relayed")
}
