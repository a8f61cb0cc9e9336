package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is a way of asking a router.
type Protocol uint8

const (
	PCP Protocol = iota
	NATPMP
	UPnP
	protocols
)

func (p Protocol) String() string {
	switch p {
	case PCP:
		return "PCP"
	case NATPMP:
		return "NAT-PMP"
	case UPnP:
		return "UPnP"
	}
	return "none"
}

// A Mapping is what a router has promised. The zero value is none.
type Mapping struct {
	Protocol Protocol
	Inside   netip.AddrPort
	Outside  netip.AddrPort // as the router says
	// Lifetime is how long it lasts after it was given or renewed, at Since. If zero,
	// for ever: the router knows no other.
	Lifetime time.Duration
	Since    time.Time
}

// IsZero reports whether m is no mapping.
func (m Mapping) IsZero() bool { return !m.Outside.IsValid() }

// Expires is when the mapping ends unless it is renewed; zero if never.
func (m Mapping) Expires() time.Time {
	if m.Lifetime == 0 {
		return time.Time{}
	}
	return m.Since.Add(m.Lifetime)
}

func (m Mapping) String() string {
	if m.IsZero() {
		return "no mapping"
	}
	return fmt.Sprintf("%v to %v by %v", m.Outside, m.Inside, m.Protocol)
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) &&
		(!a.Is4() || a.As4()[0] != 0 && a.As4()[0] < 240)
}

// wish is what is asked of a router.
type wish struct {
	inside   netip.AddrPort
	outside  netip.AddrPort // a suggestion; its address may be missing
	lifetime time.Duration
	nonce    [12]byte
}

// An asker speaks one protocol with one gateway. Its methods are called one at a time,
// and return soon after ctx ends.
type asker interface {
	// probe asks whether the gateway speaks the protocol, and changes nothing.
	probe(ctx context.Context) error
	// mapPort makes a mapping, or renews it.
	mapPort(ctx context.Context, w wish) (Mapping, error)
	// check asks whether m stands: errLost if surely not, errUntold if the gateway is
	// there but cannot be asked about a single mapping.
	check(ctx context.Context, m Mapping) error
	// unmap takes away what mapPort has made, or may have.
	unmap(ctx context.Context, w wish) error
}

// errLost: the gateway has forgotten its mappings, or has another address outside.
var errLost = errors.New("the router has lost the mapping")

// errUntold: the gateway is there, and its clock goes on, which does not say that the
// mapping stands: its rules go when its firewall is loaded anew, and its clock does not.
var errUntold = errors.New("the router does not tell of single mappings")

// errSilent: no answer came.
var errSilent = errors.New("no answer")

// A ResultError is a router's no.
type ResultError struct {
	Protocol Protocol
	Code     int    // as the protocol has it
	Text     string // what it means
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("%v: the router refuses: %s (%d)", e.Protocol, e.Text, e.Code)
}

// maxLifetime is the longest that a router's promise is believed: it may restart, and
// clocks differ.
const maxLifetime = 24 * time.Hour

// lifetimeOf reads a number of seconds.
func lifetimeOf(seconds uint32) time.Duration {
	return min(time.Duration(seconds)*time.Second, maxLifetime)
}
