package portmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// pmp speaks NAT-PMP, RFC 6886.
type pmp struct {
	local   netip.Addr
	gateway netip.AddrPort
	epoch   epoch
}

const (
	pmpAddress = 0 // operations, RFC 6886 §3.2 and §3.3
	pmpMapUDP  = 1
	isAnswer   = 128 // added to the operation
)

var pmpResults = []string{ // RFC 6886 §3.5
	"success", "unsupported version", "not authorized", "network failure", "out of resources", "unsupported operation",
}

// pmpAnswer holds the fields of any answer, and those of one operation.
type pmpAnswer struct {
	epoch    uint32
	outside  netip.Addr // to pmpAddress
	ports    [2]uint16  // inside and outside, to pmpMapUDP
	lifetime time.Duration
}

func parsePMP(b []byte, op byte) (a pmpAnswer, err error) {
	order := binary.BigEndian
	if len(b) < 8 || b[0] != 0 || b[1] != isAnswer+op {
		if len(b) >= 4 && b[0] != 0 {
			return a, &ResultError{NATPMP, 1, "it speaks another version"}
		}
		return a, errNotMine
	}
	if code := int(order.Uint16(b[2:])); code != 0 {
		text := "unknown reason"
		if code < len(pmpResults) {
			text = pmpResults[code]
		}
		return a, &ResultError{NATPMP, code, text}
	}
	a.epoch = order.Uint32(b[4:])
	switch {
	case op == pmpAddress && len(b) >= 12:
		a.outside = netip.AddrFrom4([4]byte(b[8:12]))
	case op == pmpMapUDP && len(b) >= 16:
		a.ports = [2]uint16{order.Uint16(b[8:]), order.Uint16(b[10:])}
		a.lifetime = lifetimeOf(order.Uint32(b[12:]))
	default:
		return a, errNotMine
	}
	return a, nil
}

func pmpMap(inside, outside uint16, lifetime time.Duration) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, pmpMapUDP, 0, 0}, inside)
	b = binary.BigEndian.AppendUint16(b, outside)
	return binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
}

// address requests the external address, and reports whether the router's epoch is
// consistent with the last one.
func (p *pmp) address(ctx context.Context) (outside netip.Addr, steady bool, err error) {
	a, err := ask(ctx, p.local, p.gateway, []byte{0, pmpAddress}, func(b []byte) (pmpAnswer, error) {
		return parsePMP(b, pmpAddress)
	})
	if err != nil {
		return outside, false, err
	}
	return a.outside, p.epoch.pmp(a.epoch, time.Now()), nil
}

func (p *pmp) probe(ctx context.Context) error {
	_, _, err := p.address(ctx)
	return err
}

func (p *pmp) check(ctx context.Context, m Mapping) error {
	outside, steady, err := p.address(ctx)
	switch {
	case err != nil:
		return err
	case !steady || outside != m.Outside.Addr():
		return errLost
	}
	return errUntold
}

func (p *pmp) mapPort(ctx context.Context, w wish) (m Mapping, err error) {
	a, err := p.ask(ctx, w.inside.Port(), w.outside.Port(), w.lifetime)
	if err != nil {
		return m, err
	}
	since := time.Now()
	p.epoch.pmp(a.epoch, since)
	if a.ports[1] == 0 || a.lifetime == 0 {
		return m, fmt.Errorf("NAT-PMP: the router maps port %d for %v", a.ports[1], a.lifetime)
	}
	outside, _, err := p.address(ctx)
	if err != nil {
		return m, err
	}
	return Mapping{NATPMP, w.inside, netip.AddrPortFrom(outside, a.ports[1]), a.lifetime, since}, nil
}

func (p *pmp) ask(ctx context.Context, inside, outside uint16, lifetime time.Duration) (pmpAnswer, error) {
	return ask(ctx, p.local, p.gateway, pmpMap(inside, outside, lifetime), func(b []byte) (pmpAnswer, error) {
		a, err := parsePMP(b, pmpMapUDP)
		if err == nil && a.ports[0] != inside {
			return a, errNotMine
		}
		return a, err
	})
}

func (p *pmp) unmap(ctx context.Context, w wish) error {
	_, err := p.ask(ctx, w.inside.Port(), 0, 0) // RFC 6886 §3.4
	return err
}
