package field

import (
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// One host asks a relay for 1,000 reservations and gets a few. Conversations through the
// relay continue, and the next peer gets a reservation there.
func TestThousandReservations(t *testing.T) {
	count := 200
	if *all {
		count = 1000
	}
	n := build(t, 3, far)
	greedy := start(t, n.Public("greedy"), setting{Client: true, Bootstrap: n.join})
	k := n.two(n.Home("alice", natlab.Symmetric), n.Home("bob", natlab.Symmetric))
	victim := k.relay(n)
	var got greed
	greedy.must(order{Do: "reserve", Addrs: []string{victim.at()}, Count: count}, &got)
	t.Logf("of %d asked for, %d connected and %d have a place; the others: %v", count, got.Connected, got.Reserved, got.Why)
	if got.Reserved > 16 {
		t.Errorf("one host has %d places", got.Reserved)
	}
	late := start(t, n.Home("late", natlab.Symmetric), setting{Bootstrap: []string{victim.at()}})
	late.settled("a place at the relay", func(s state) bool { return slices.Contains(s.Relays, victim.ID) })
	late.must(order{Do: "learn", Addrs: k.callee.ticket()}, nil)
	var c call
	late.must(order{Do: "call", Peer: k.callee.ID}, &c)
	t.Logf("who comes after them is connected after %v, %s", ms(c.Connected), c.Path)
	k.ends("1,000 reservations asked")
}

// A pair of intruders sends as fast as it can through a relay. It gets the rate of one
// pair, and other conversations there continue.
func TestFloodThroughOnePair(t *testing.T) {
	n := build(t, 3, far)
	intruders := start(t, n.Public("intruders"), setting{Client: true, Bootstrap: n.join})
	k := n.two(n.Home("alice", natlab.Symmetric), n.Home("bob", natlab.Symmetric))
	victim := k.relay(n)
	var got flood
	intruders.must(order{Do: "flood", Addrs: []string{victim.at()}, For: 4 * time.Second}, &got)
	t.Logf("%d kB sent in %v, %d kB came: %d kB/s, granted are %d kB/s",
		got.Sent/1000, ms(got.Took), got.Came/1000, int(float64(got.Came)/got.Took.Seconds())/1000, got.Rate/1000)
	if most := 2 * float64(got.Rate) * got.Took.Seconds(); float64(got.Came) > most {
		t.Errorf("%d bytes came through, want at most %.0f", got.Came, most)
	}
	if got.Came == 0 {
		t.Error("nothing came through: the flood was none")
	}
	k.goesOn(time.Second)
	k.ends("a flood through the same relay")
}
