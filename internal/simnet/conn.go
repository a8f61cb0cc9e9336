package simnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// A conn is a socket on a Network. Its addresses are *net.UDPAddr.
type conn struct {
	*simnet.SimConn
	link    *simnet.SimulatedLink // runs two goroutines until Close
	network *Network
	addr    netip.AddrPort
	close   sync.Once
}

// ReadFrom is SimConn's, with the errors of a UDP socket, and leaves out what
// arrives for a killed host.
func (c *conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.SimConn.ReadFrom(b)
		if err != nil || !c.network.buried(c.addr) {
			return n, from, socketError("read", err)
		}
	}
}

// WriteTo is SimConn's, with the errors of a UDP socket.
func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	if _, ok := to.(*net.UDPAddr); !ok {
		return 0, fmt.Errorf("simnet: write to %T, which is not a *net.UDPAddr", to)
	}
	n, err := c.SimConn.WriteTo(b, to)
	return n, socketError("write", err)
}

// Close frees the address. Packets on their way to it become strays.
func (c *conn) Close() error {
	c.close.Do(func() {
		c.SimConn.Close() // first: the link may be blocked handing it a packet
		c.network.remove(c)
		c.link.Close()
	})
	return nil
}

func (n *Network) remove(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, c.addr)
	delete(n.dead, c.addr)
}

func (n *Network) buried(addr netip.AddrPort) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead[addr]
}

func socketError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, simnet.ErrDeadlineExceeded):
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: op, Net: "udp", Err: err}
}
