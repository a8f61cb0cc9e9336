package reach

import (
	"net/netip"
	"testing"
	"time"
)

func TestContacted(t *testing.T) {
	var c contacted
	now := time.Unix(1e9, 0)
	if c.has(ipv4(9, 9, 9, 9), now) {
		t.Error("somebody was contacted")
	}
	at := func(ip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(ip, 1) }
	c.note(at(ipv4(9, 9, 9, 9)), now)
	if other := netip.AddrPortFrom(ipv4(9, 9, 9, 9), 2); !c.has(other.Addr(), now) || c.hasPort(other, now) {
		t.Error("another port of one that was contacted")
	}
	for i := range maxContacted {
		c.note(at(ipv4(9, 0, byte(i>>8), byte(i))), now)
	}
	c.note(at(ipv4(8, 8, 8, 8)), now)
	if !c.has(ipv4(8, 8, 8, 8), now) || !c.hasPort(at(ipv4(8, 8, 8, 8)), now) || len(c.at) > maxContacted || len(c.ports) > maxContacted {
		t.Error("without room nobody is known not to have been contacted")
	}
	c.expire(now.Add(FilterLife + 1))
	if c.has(ipv4(9, 0, 0, 0), now.Add(FilterLife+1)) {
		t.Error("it is never forgotten")
	}
}
