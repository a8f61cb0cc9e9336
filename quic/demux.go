package quic

import (
	"net"
	"net/netip"
	"time"
)

// isShortHeader reports of most packets that they belong to no virtual connection: short
// headers of ordinary connections.
func isShortHeader(b []byte) bool {
	return len(b) == 0 || (b[0]&0xc0 == 0x40 && (len(b) < 2 || b[1]&0x80 == 0))
}

// take receives each packet that reached the socket, or a port, from a real address, unless
// isShortHeader, and reports whether it was for the paths. It is called by the goroutine
// that reads there.
func (p *paths) take(via *Port, at netip.AddrPort, b []byte, ecn byte) bool {
	if b[0]&0xc0 == 0 {
		if p.c.Probe == nil || len(b) > maxProbe {
			return false
		}
		p.c.Probe(via, at, b)
		return true
	}
	h, ok := readHeader(b)
	if !ok {
		return false
	}
	from := origin{via, at}
	var r *route
	switch {
	case isVirtual(h.to):
		r = p.whose(h.to, from)
		if r == nil && !h.long && via == nil {
			// The address and the ID are both new. quic-go resets an ID from before
			// a restart. One of our IDs belongs to a peer that has moved and taken
			// another ID at the same moment: its packets by relay will tell which
			// peer. quic-go must not see the address.
			if !p.ids.issued(h.to) {
				p.in.put(&p.in.waiting, net.UDPAddrFromAddrPort(at), b, ecn)
			}
			return true
		}
	case h.calls():
		r = p.at(from)
	}
	if r == nil {
		return false
	}
	if !isVirtual(h.to) || !p.learn(r, h.to) {
		// From a caller, or from before a restart, or forged: knowing the address is
		// enough to send it, so it proves nothing about the path.
		p.in.put(&r.waiting, r.addr, b, ecn)
		return true
	}
	turned, news := r.came(time.Now(), from)
	p.in.put(&r.waiting, r.addr, b, ecn)
	if turned {
		p.changed(r)
	}
	if news {
		p.strayed(r, from)
	}
	return true
}

// deliver is take for a packet that came by relay.
func (p *paths) deliver(key PublicKey, b []byte) {
	h, ok := readHeader(b)
	if !ok || !(isVirtual(h.to) || h.calls()) {
		return
	}
	r := p.known(key)
	if r == nil {
		// A caller, or a peer that goes on with a connection from before a restart,
		// which quic-go resets.
		if r = p.make(time.Now(), key, maxRoutes/2); r == nil {
			return
		}
	}
	if whose := p.owner(h.to); whose != nil && whose != r {
		return // the relay lies: quic-go would follow the packet to the route of r
	}
	if !h.long {
		p.learn(r, h.to)
	}
	turned := r.relayed(time.Now())
	p.in.put(&r.waiting, r.addr, b, 0)
	if turned {
		p.repeat(r)
		p.changed(r)
	}
}
