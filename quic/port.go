package quic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const maxPorts = 512

// A Port is another UDP socket of a transport, and so another mapping in the NAT
// before us. It carries only probes and packets of virtual connections: no peer can
// begin a connection there. Its methods may be called by several
// goroutines at once.
type Port struct {
	p    *paths
	conn net.PacketConn
	out  batchWriter // the same, as quic-go wants it; nil: no batches, no marks
	grow sync.Once   // its buffers
}

var errNoPorts = errors.New("quic: Config.OpenPort is missing: another socket like Config.Conn cannot be had")

// OpenPort opens another socket, as Config.OpenPort says. The error is ErrBusy when
// there are 512.
func (t *Transport) OpenPort() (*Port, error) {
	p := t.paths
	if p == nil {
		return nil, errNoPaths
	}
	if err := p.expect(); err != nil {
		return nil, err
	}
	conn, err := t.openSocket()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming--
	switch {
	case err != nil:
		return nil, err
	case p.shut:
		conn.Close()
		return nil, ErrClosed
	}
	port := &Port{p: p, conn: conn}
	if u, ok := conn.(*net.UDPConn); ok {
		port.out = &udp{UDPConn: u, watcher: t}
	}
	p.ports[port] = struct{}{}
	p.reading.Go(port.read)
	return port, nil
}

func (t *Transport) openSocket() (net.PacketConn, error) {
	if t.c.OpenPort != nil {
		return t.c.OpenPort()
	}
	u, ok := t.c.Conn.(*net.UDPConn)
	if !ok {
		return nil, errNoPorts
	}
	c, err := ListenUDP(netip.AddrPortFrom(u.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), 0))
	if err != nil {
		return nil, fmt.Errorf("quic: %w", err)
	}
	return c, nil
}

// SendProbe is Transport.SendProbe from this socket.
func (p *Port) SendProbe(to netip.AddrPort, b []byte) error { return sendProbe(p.conn, to, b) }

// LocalAddr is the address of the socket; its IP may be unspecified.
func (p *Port) LocalAddr() netip.AddrPort { return addrPort(p.conn.LocalAddr()) }

// Close closes the socket. The peers whose path went by it are Relayed from then
// on. It may be called by Config.Probe.
func (p *Port) Close() error {
	for _, r := range p.p.dropPort(p) {
		p.p.changed(r)
	}
	if err := p.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// read hands the packets to the paths. A socket that fails again and again is closed.
func (p *Port) read() {
	b := make([]byte, maxPacket+1)
	for failures := 0; failures < 1000; {
		n, from, err := p.receive(b)
		switch {
		case err != nil && !p.p.reads(p):
			return
		case err != nil: // word of a packet that did not arrive (Windows), say
			if failures++; failures > 10 {
				time.Sleep(time.Millisecond)
			}
			continue
		case n > 0:
			p.p.take(p, from, b[:n], 0)
		}
		failures = 0
	}
	p.Close()
}

func (p *Port) receive(b []byte) (int, netip.AddrPort, error) {
	if u, ok := p.conn.(*net.UDPConn); ok {
		n, from, err := u.ReadFromUDPAddrPort(b)
		return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
	}
	n, from, err := p.conn.ReadFrom(b)
	return n, addrPort(from), err
}

// write sends the packet given to paths.send. Errors count as lost packets: quic-go
// would take them for errors of the main socket, and end.
func (p *Port) write(b, oob []byte, size int, to *net.UDPAddr) {
	if p.out != nil {
		_, _, err := p.out.WriteMsgUDP(b, mark(oob, to), to)
		if len(b) <= size || !errors.Is(err, syscall.EIO) {
			return
		}
		// The device cannot split batches.
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := p.conn.WriteTo(b[:n], to); err != nil {
			return
		}
		b = b[n:]
	}
}

// enlarge gives the socket the buffers of one that carries connections.
func (p *Port) enlarge() {
	p.grow.Do(func() {
		if u, ok := p.out.(*udp); ok {
			_ = u.SetReadBuffer(portBuffer)
			_ = u.SetWriteBuffer(portBuffer)
		}
	})
}

const portBuffer = 7 << 20 // as quic-go's

// expect makes room for a port.
func (p *paths) expect() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.shut:
		return ErrClosed
	case len(p.ports)+p.coming >= maxPorts:
		return fmt.Errorf("%w: %d ports are open", ErrBusy, maxPorts)
	}
	p.coming++
	return nil
}

func (p *paths) reads(port *Port) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.has(port)
}

// has tells whether a port is open; with p.mu held.
func (p *paths) has(port *Port) bool {
	_, ok := p.ports[port]
	return ok
}

// dropPort forgets a port, and returns the routes that went by it.
func (p *paths) dropPort(port *Port) (moved []*route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.has(port) {
		return nil
	}
	delete(p.ports, port)
	for _, r := range p.byKey {
		if r.path().Via == port {
			p.turn(r, Path{Kind: Relayed})
			moved = append(moved, r)
		}
	}
	return moved
}

// closePorts ends them all, and returns when none is read from.
func (p *paths) closePorts() {
	p.mu.Lock()
	p.shut = true
	var all []*Port
	for port := range p.ports {
		all = append(all, port)
	}
	p.mu.Unlock()
	for _, port := range all {
		port.Close()
	}
	p.reading.Wait()
}
