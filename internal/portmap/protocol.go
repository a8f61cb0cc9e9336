package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is a port mapping protocol.
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

// A Mapping is a port mapping as the router has granted it. The zero value means none.
type Mapping struct {
	Protocol Protocol
	Inside   netip.AddrPort
	Outside  netip.AddrPort // as the router says
	// Lifetime counts from Since, when the router granted or renewed the mapping. If
	// zero, the mapping does not expire: the router supports permanent ones only.
	Lifetime time.Duration
	Since    time.Time
}

// IsZero reports whether m is the zero value.
func (m Mapping) IsZero() bool { return !m.Outside.IsValid() }

// Expires returns when the mapping expires unless it is renewed; zero if never.
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

// wish describes the requested mapping.
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
	// check asks whether m still exists. It returns errLost if it does not, and errUntold
	// if the gateway answers but cannot report on a single mapping.
	check(ctx context.Context, m Mapping) error
	// unmap deletes the mapping that mapPort has requested, whether or not it was granted.
	unmap(ctx context.Context, w wish) error
}

// errLost means that the gateway has lost its mappings, or has another external address.
var errLost = errors.New("the router has lost the mapping")

// errUntold means that the gateway answers with a consistent epoch. That does not prove
// the mapping: when the firewall reloads its rules, mappings vanish and the epoch
// continues.
var errUntold = errors.New("the router does not report single mappings")

// errSilent means that the gateway did not answer.
var errSilent = errors.New("no answer")

// A ResultError is a refusal by the router.
type ResultError struct {
	Protocol Protocol
	Code     int    // of the protocol
	Text     string // the meaning of Code
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("%v: the router refuses: %s (%d)", e.Protocol, e.Text, e.Code)
}

// maxLifetime bounds the lifetime that is accepted from a router, which may restart, and
// whose clock may differ.
const maxLifetime = 24 * time.Hour

// lifetimeOf converts seconds to a duration of at most maxLifetime.
func lifetimeOf(seconds uint32) time.Duration {
	return min(time.Duration(seconds)*time.Second, maxLifetime)
}
