package quic

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// send sends what quic-go wrote to a name: one packet, or with the control message
// for it in oob a batch of packets of size bytes, the last of which may be shorter.
func (p *paths) send(b, oob []byte, size int, name *net.UDPAddr) error {
	a := addrPort(name)
	if !isName(a.Addr()) { // a reset, see take
		return p.write(b, oob, name)
	}
	r := p.named(a.Addr())
	if r == nil || len(b) == 0 {
		return nil
	}
	if h, ok := readHeader(b); ok && h.long && isVirtual(h.from) {
		p.learn(r, h.from)
	}
	var w ways
	r.choose(&w, time.Now(), b, size)
	var err error
	if w.direct != nil {
		err = w.direct.write(p, b, oob, size)
	}
	if w.relay {
		for rest := b; len(rest) > 0; {
			n := min(size, len(rest))
			p.c.Relay(r.key, rest[:n:n])
			rest = rest[n:]
		}
		err = nil
	}
	if w.repeat {
		p.repeat(r)
	}
	if w.turned {
		p.changed(r)
	}
	return err
}

// batchWriter is implemented by the sockets of most systems.
type batchWriter interface {
	WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error)
}

// write sends to a real address. Errors are those that quic-go acts on.
func (p *paths) write(b, oob []byte, to *net.UDPAddr) (err error) {
	if u, ok := p.out.(batchWriter); ok {
		_, _, err = u.WriteMsgUDP(b, mark(oob, to), to)
		return err
	}
	_, err = p.out.WriteTo(b, to)
	return err
}

// write sends to a target by the socket that it is reached from.
func (t *target) write(p *paths, b, oob []byte, size int) error {
	if t.via != nil {
		t.via.write(b, oob, size, t.addr)
		return nil
	}
	return p.write(b, oob, t.addr)
}

const maxProbe = 1200

// sendProbe sends past the wrapper of a socket, to learn of errors.
func sendProbe(s net.PacketConn, to netip.AddrPort, b []byte) error {
	if len(b) == 0 || len(b) > maxProbe || b[0] >= 0x40 {
		return fmt.Errorf("quic: %d bytes are no probe", len(b))
	}
	if !sendable(to) {
		return fmt.Errorf("%w: %v is not an address of a host", ErrUnreachable, to)
	}
	_, err := s.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return typed(err)
}
