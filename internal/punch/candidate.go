package punch

import (
	"net/netip"
	"time"
)

// An Endpoint is a candidate pair (RFC 8445): one of our sockets and an address of the peer.
type Endpoint struct {
	Via  int // the socket: 0 is the one that QUIC uses
	Addr netip.AddrPort
}

// A candidate is an endpoint that may become a path.
type candidate struct {
	Endpoint
	guess bool // the port is predicted

	due   time.Time // when to send the next PING; zero: never
	probe int       // how many were sent since the schedule began

	validated time.Time // when first; zero: not validated
	rtt       time.Duration
}

// maxCandidates bounds the candidates of a checklist: from the peer's offer, and
// peer-reflexive ones, from which its probes came.
const maxCandidates = 48

const (
	steps     = 10 // probes at the first pace
	firstPace = 20 * time.Millisecond
	lastPace  = time.Second
	guessPace = 150 * time.Millisecond
	maxGuess  = 6 // probes to a guessed port
)

// next plans the next PING after one that was just sent.
func (c *candidate) next(now, end time.Time) {
	c.probe++
	pace := firstPace
	if c.guess {
		pace = guessPace
	}
	for i := steps; i < c.probe; i++ {
		pace = min(pace+pace/4, lastPace)
	}
	c.due = now.Add(pace)
	if c.due.After(end) || c.guess && c.probe >= maxGuess {
		c.due = time.Time{}
	}
}

// rank orders paths: one within the LAN is better than IPv6, which is better than IPv4, as
// fewer middleboxes keep state for it.
func rank(a netip.Addr) int {
	switch {
	case a.IsPrivate(), a.IsLoopback(), a.IsLinkLocalUnicast():
		return 0
	case a.Is6():
		return 1
	}
	return 2
}

// IsUsable reports whether a probe may ever go to an address.
func IsUsable(a netip.AddrPort) bool {
	ip := a.Addr()
	return ip.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip.Zone() == "" &&
		!(ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 240))
}

// NextPorts returns the n ports that follow the port of an address: a sequential NAT assigns
// them next.
func NextPorts(a netip.AddrPort, n int) []netip.AddrPort {
	var next []netip.AddrPort
	port := int(a.Port())
	for range n {
		if port++; port > 65535 {
			port = 1024
		}
		next = append(next, netip.AddrPortFrom(a.Addr(), uint16(port)))
	}
	return next
}
