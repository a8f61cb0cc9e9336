package reach

import (
	"net/netip"
	"testing"
	"time"
)

// A network that asks too often, or about too many networks, must wait.
func TestDialBackShares(t *testing.T) {
	now := time.Unix(1e9, 0)
	count := func(b *Limits, n int, third bool, from, to func(int) netip.Addr) (allowed int) {
		for i := range n {
			if b.Allow(from(i), to(i), third, now) {
				allowed++
			}
		}
		return allowed
	}
	one := func(int) netip.Addr { return ipv4(9, 9, 9, 9) }
	near := func(i int) netip.Addr { return ipv4(9, 9, 9, byte(i)) }
	many := func(i int) netip.Addr { return ipv4(8, byte(i>>8), byte(i), 1) }
	for _, c := range []struct {
		name     string
		third    bool
		from, to func(int) netip.Addr
		want     int
	}{
		{"one asker", false, one, many, 10},
		{"a network of askers", false, near, many, 10},
		{"to one", false, many, one, 10},
		{"to a network, as a third", true, many, near, 10},
		{"one delegator", true, one, many, 20},
		{"all", false, many, many, 64},
	} {
		if got := count(NewLimits(), 1000, c.third, c.from, c.to); got != c.want {
			t.Errorf("%s: %d allowed, want %d", c.name, got, c.want)
		}
	}
	b := NewLimits()
	for i := range 100_000 {
		b.Allow(many(i), many(i), false, now)
		now = now.Add(50 * time.Millisecond)
	}
	if len(b.askers.of) > 1000 || len(b.dialled.of) > 1000 {
		t.Errorf("%d and %d networks are remembered", len(b.askers.of), len(b.dialled.of))
	}
}
