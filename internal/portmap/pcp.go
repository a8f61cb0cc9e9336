package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// pcp speaks PCP, RFC 6887.
type pcp struct {
	local   netip.Addr
	gateway netip.AddrPort
	epoch   epoch
}

const (
	pcpVersion  = 2
	pcpAnnounce = 0 // operations, RFC 6887 §19.2
	pcpMap      = 1
	protoUDP    = 17
)

const ( // RFC 6887 §7.4
	pcpUnsuppVersion = 1
	pcpUnsuppOpcode  = 4
)

var pcpResults = []string{ // RFC 6887 §7.4
	"success", "unsupported version", "not authorized", "malformed request", "unsupported opcode", "unsupported option",
	"malformed option", "network failure", "no resources", "unsupported protocol", "user exceeded quota",
	"cannot provide external", "address mismatch", "excessive remote peers",
}

// pcpAnswer holds the fields of any answer, and those of an answer to pcpMap.
type pcpAnswer struct {
	epoch    uint32
	lifetime time.Duration
	nonce    [12]byte
	inside   uint16
	outside  netip.AddrPort
}

func parsePCP(b []byte, op byte) (a pcpAnswer, err error) {
	order := binary.BigEndian
	if len(b) >= 4 && b[0] == 0 && b[1] >= isAnswer { // RFC 6886 §3.5, RFC 6887 §9
		return a, &ResultError{PCP, pcpUnsuppVersion, "it speaks NAT-PMP only"}
	}
	if len(b) < 24 || len(b)%4 != 0 || b[0] != pcpVersion || b[1] != isAnswer+op { // RFC 6887 §8.3
		return a, errNotMine
	}
	a.epoch = order.Uint32(b[8:])
	if code := int(b[3]); code != 0 {
		text := "unknown reason"
		if code < len(pcpResults) {
			text = pcpResults[code]
		}
		err = &ResultError{PCP, code, text} // continue: the caller matches a refusal by its nonce
	} else {
		a.lifetime = lifetimeOf(order.Uint32(b[4:]))
	}
	if op != pcpMap {
		return a, err
	}
	if len(b) < 60 {
		if err == nil {
			err = errNotMine
		}
		return a, err
	}
	copy(a.nonce[:], b[24:36])
	if b[36] != protoUDP {
		return a, errNotMine
	}
	a.inside = order.Uint16(b[40:])
	a.outside = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[44:60])).Unmap(), order.Uint16(b[42:]))
	return a, err
}

func pcpRequest(op byte, client netip.Addr, lifetime time.Duration) []byte {
	b := binary.BigEndian.AppendUint32([]byte{pcpVersion, op, 0, 0}, uint32(lifetime/time.Second))
	ip := client.As16()
	return append(b, ip[:]...)
}

func pcpMapRequest(w wish) []byte {
	b := pcpRequest(pcpMap, w.inside.Addr(), w.lifetime)
	b = append(b, w.nonce[:]...)
	b = append(b, protoUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, w.inside.Port())
	b = binary.BigEndian.AppendUint16(b, w.outside.Port())
	suggest := netip.IPv4Unspecified() // any, RFC 6887 §11.1
	if w.outside.Addr().Is4() {
		suggest = w.outside.Addr()
	}
	ip := suggest.As16()
	return append(b, ip[:]...)
}

// announce reads the router's epoch (RFC 6887 §14.1), and reports whether it is
// consistent with the last one.
func (p *pcp) announce(ctx context.Context) (steady bool, err error) {
	a, err := ask(ctx, p.local, p.gateway, pcpRequest(pcpAnnounce, p.local, 0), func(b []byte) (pcpAnswer, error) {
		return parsePCP(b, pcpAnnounce)
	})
	var no *ResultError
	if errors.As(err, &no) && no.Code == pcpUnsuppOpcode {
		err = nil // the router speaks PCP without ANNOUNCE
	}
	if err != nil {
		return false, err
	}
	return p.epoch.pcp(a.epoch, time.Now()), nil
}

func (p *pcp) probe(ctx context.Context) error {
	_, err := p.announce(ctx)
	return err
}

func (p *pcp) check(ctx context.Context, _ Mapping) error {
	steady, err := p.announce(ctx)
	switch {
	case err != nil:
		return err
	case !steady:
		return errLost
	}
	return errUntold
}

func (p *pcp) mapPort(ctx context.Context, w wish) (m Mapping, err error) {
	a, err := p.ask(ctx, w)
	if err != nil {
		return m, err
	}
	now := time.Now()
	p.epoch.pcp(a.epoch, now)
	if a.lifetime == 0 || a.outside.Port() == 0 || !a.outside.Addr().Is4() {
		return m, fmt.Errorf("PCP: the router maps %v for %v", a.outside, a.lifetime)
	}
	return Mapping{PCP, w.inside, a.outside, a.lifetime, now}, nil
}

func (p *pcp) ask(ctx context.Context, w wish) (pcpAnswer, error) {
	return ask(ctx, p.local, p.gateway, pcpMapRequest(w), func(b []byte) (pcpAnswer, error) {
		a, err := parsePCP(b, pcpMap)
		if (err == nil || len(b) >= 60) && (a.nonce != w.nonce || a.inside != w.inside.Port()) { // RFC 6887 §11.4
			return a, errNotMine
		}
		return a, err
	})
}

func (p *pcp) unmap(ctx context.Context, w wish) error {
	w.lifetime = 0 // RFC 6887 §15.1
	_, err := p.ask(ctx, w)
	return err
}
