package node

import (
	"io"
	"net"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/nettest"
)

// Streams obey the rules of net.Conn, on both ends. The test runs over loopback in real time, because
// nettest has its own timeouts.
func TestStreamsAreNetConns(t *testing.T) {
	start := func(bootstrap ...ma.Multiaddr) *Node {
		n, err := New(Config{Listen: loopback, Bootstrap: bootstrap})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	a := start()
	b := start(a.Addrs()[0])
	ln, err := a.Listen("/net/1")
	if err != nil {
		t.Fatal(err)
	}
	pipe := func() (dialled, accepted net.Conn, stop func(), err error) {
		if dialled, err = b.Dial(t.Context(), a.ID(), "/net/1"); err == nil {
			accepted, err = ln.Accept()
		}
		if err != nil {
			return nil, nil, nil, err
		}
		return dialled, accepted, func() {
			for _, c := range []io.Closer{dialled, accepted} {
				c.Close()
			}
		}, nil
	}
	t.Run("dialled", func(t *testing.T) { nettest.TestConn(t, pipe) })
	t.Run("accepted", func(t *testing.T) {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			dialled, accepted, stop, err := pipe()
			return accepted, dialled, stop, err
		})
	})
}
