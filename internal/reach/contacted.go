package reach

import (
	"maps"
	"net/netip"
	"time"
)

// contacted holds the addresses to which the node has sent packets lately. The filter of a NAT
// or firewall may be open to them, so a connection from there does not show that strangers
// can connect. The zero value is empty; goroutines must not share it.
type contacted struct {
	at    map[netip.Addr]time.Time
	ports map[netip.AddrPort]time.Time
}

const (
	// FilterLife is longer than NATs and firewalls keep their filters open
	// (RFC 4787 §4.3: 2 minutes at least, 5 recommended).
	FilterLife   = 10 * time.Minute
	maxContacted = 4096 // of each kind; when full, has and hasPort return true for every address
)

func (c *contacted) note(to netip.AddrPort, now time.Time) {
	if c.at == nil {
		c.at = make(map[netip.Addr]time.Time)
		c.ports = make(map[netip.AddrPort]time.Time)
	}
	if at, ok := c.at[to.Addr()]; ok && now.After(at) || !ok && len(c.at) < maxContacted {
		c.at[to.Addr()] = now
	}
	if at, ok := c.ports[to]; ok && now.After(at) || !ok && len(c.ports) < maxContacted {
		c.ports[to] = now
	}
}

// has reports whether the node may have sent something to that IP.
func (c *contacted) has(ip netip.Addr, now time.Time) bool {
	at, ok := c.at[ip]
	return ok && now.Sub(at) <= FilterLife || len(c.at) >= maxContacted
}

// hasPort reports whether the node may have sent something to exactly that port.
func (c *contacted) hasPort(to netip.AddrPort, now time.Time) bool {
	at, ok := c.ports[to]
	return ok && now.Sub(at) <= FilterLife || len(c.ports) >= maxContacted
}

func (c *contacted) expire(now time.Time) {
	maps.DeleteFunc(c.at, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) > FilterLife })
	maps.DeleteFunc(c.ports, func(_ netip.AddrPort, at time.Time) bool { return now.Sub(at) > FilterLife })
}

// MarkContacted notes that the node sends something to an address, and reports whether it may
// have done so before: to that IP, and to exactly that port.
func (s *Self) MarkContacted(to netip.AddrPort, now time.Time) (ip, port bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip, port = s.contacted.has(to.Addr(), now), s.contacted.hasPort(to, now)
	s.contacted.note(to, now)
	return ip, port
}
