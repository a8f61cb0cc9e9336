package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// errNotAPeer says that the host that answers at an address is not the peer in question,
// or speaks another protocol.
var errNotAPeer = errors.New("it does not say HELLO")

// probeDialBack tests whether a peer answers at an address, as a stranger would: from
// another port and with another key than the node's own. The peer may have sent packets to
// the node's own port, and its NAT would then let that port in (RFC 4787 §5). A connection
// with the node's own key would replace the existing connection between the two.
func (n *Node) probeDialBack(ctx context.Context, to netip.AddrPort, id wire.PeerID) error {
	socket, err := n.freshSocket(to.Addr())
	if err != nil {
		return err
	}
	key, err := quic.GenerateKey()
	if err != nil {
		socket.Close()
		return err
	}
	p := &meteredConn{PacketConn: socket, to: to}
	p.left.Store(wire.DialBytes)
	t, err := quic.NewTransport(quic.Config{
		Key:  key,
		ALPN: wire.ALPN(n.config.Network),
		Conn: p,
		Admit: func(who quic.PublicKey) error {
			if who != quic.PublicKey(id) {
				return errNotAPeer
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	defer t.Close()
	c, err := t.Dial(ctx, to, quic.PublicKey(id))
	if err != nil {
		return err
	}
	defer c.Close(wire.CloseNone, "")
	defer context.AfterFunc(ctx, func() { c.Close(wire.CloseNone, "") })() // ends the blocking calls below
	stream, err := c.OpenStream(ctx)
	if err != nil {
		return err
	}
	hello := wire.Hello{Mode: wire.ModeClient, DialBack: true, Clock: time.Now(), Observed: wire.AddrFrom(to)}
	if err := wire.NewWriter(stream).WriteFrame(wire.Frame{Body: hello}); err != nil {
		return err
	}
	f, err := wire.NewReader(stream, wire.MaxFrame).ReadFrame()
	if err != nil {
		return err
	}
	if _, ok := f.Body.(wire.Hello); !ok {
		return fmt.Errorf("%w: its first frame is %T", errNotAPeer, f.Body)
	}
	return nil
}

// freshSocket opens a socket that reaches an address, on another port than the node's own.
func (n *Node) freshSocket(to netip.Addr) (net.PacketConn, error) {
	t := n.transportFor(to)
	if t == nil {
		return nil, fmt.Errorf("no socket of this node reaches %v", to)
	}
	return n.fresh(t.LocalAddr().Addr())
}

// listenAfresh is Node.fresh for real sockets.
func listenAfresh(local netip.Addr) (net.PacketConn, error) {
	return quic.ListenUDP(netip.AddrPortFrom(local, 0))
}

// isDialBackProbe reports whether the connection is a dial-back probe, which only tests an
// address: the other side is not a peer and enters no table. The link must be up.
func (l *link) isDialBackProbe() bool {
	return !l.conn.Dialled() && l.hello.Mode == wire.ModeClient && l.hello.DialBack
}

// A meteredConn is a socket that exchanges packets with one address only. It sends at most
// wire.DialBytes, which the request has paid for by padding, plus the bytes received from
// the address.
type meteredConn struct {
	net.PacketConn
	to   netip.AddrPort
	left atomic.Int64 // bytes
}

func (p *meteredConn) WriteTo(b []byte, to net.Addr) (int, error) {
	cost := int64(len(b))
	if addrPortOf(to) != p.to {
		return len(b), nil
	}
	if p.left.Add(-cost) < 0 {
		p.left.Add(cost)
		return len(b), nil // lost
	}
	return p.PacketConn.WriteTo(b, to)
}

func (p *meteredConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		size, from, err := p.PacketConn.ReadFrom(b)
		if err != nil {
			return size, from, err
		}
		if addrPortOf(from) == p.to {
			p.left.Add(int64(size))
			return size, from, nil
		}
	}
}

// addrPortOf returns the address of a UDP socket, never in IPv4-mapped form. It is zero
// for another kind of address.
func addrPortOf(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
