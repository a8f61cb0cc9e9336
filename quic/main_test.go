package quic

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quic-go/quic-go/testutils/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(tb testing.TB, err error) {
	if err != nil {
		tb.Helper()
		tb.Fatal(err)
	}
}

// want fails the test unless err is target.
func want(tb testing.TB, err, target error) {
	tb.Helper()
	if !errors.Is(err, target) {
		tb.Fatalf("error %v, want %v", err, target)
	}
}

func newKey(tb testing.TB) Config {
	tb.Helper()
	key, err := GenerateKey()
	check(tb, err)
	return Config{Key: key, ALPN: "test/1", CloseLeaving: 77, CloseBusy: 78}
}

// start runs a transport on socket until the test ends.
func start(tb testing.TB, c Config, socket net.PacketConn) *Transport {
	tb.Helper()
	c.Conn = socket
	t, err := NewTransport(c)
	check(tb, err)
	tb.Cleanup(func() { check(tb, t.Close()) })
	return t
}

// newLoopback is a transport on a real socket of this machine.
func newLoopback(tb testing.TB, ip string) *Transport {
	tb.Helper()
	return start(tb, newKey(tb), listenLoopback(tb, ip))
}

func listenLoopback(tb testing.TB, ip string) net.PacketConn {
	tb.Helper()
	socket, err := ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
	if err != nil {
		tb.Skipf("no socket on %s here: %v", ip, err)
	}
	return socket
}

// connect dials from x to y and accepts there.
func connect(tb testing.TB, x, y *Transport) (dialled, accepted *Conn) {
	tb.Helper()
	dialled, err := x.Dial(tb.Context(), y.LocalAddr(), y.PublicKey())
	check(tb, err)
	accepted, err = y.Accept(tb.Context())
	check(tb, err)
	return dialled, accepted
}

// streams opens a stream on c and accepts it at its other end d.
func streams(tb testing.TB, c, d *Conn) (opened, accepted *Stream) {
	tb.Helper()
	opened, err := c.OpenStream(tb.Context())
	check(tb, err)
	_, err = opened.Write([]byte{1})
	check(tb, err)
	accepted, err = d.AcceptStream(tb.Context())
	check(tb, err)
	_, err = io.ReadFull(accepted, make([]byte, 1))
	check(tb, err)
	return opened, accepted
}

// serve hands every stream that comes to t to handle, until t is closed.
func serve(t *Transport, handle func(io.ReadWriteCloser)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := t.Accept(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() {
			for {
				s, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				wg.Go(func() { handle(s) })
			}
		})
	}
}

// A sim is a network in memory, for use in a synctest bubble.
type sim struct {
	tb      testing.TB
	net     *simnet.Simnet
	latency time.Duration
	mtu     int // bytes of UDP payload
	next    byte
}

func newSim(tb testing.TB, latency time.Duration) *sim {
	return &sim{tb: tb, net: &simnet.Simnet{Router: &simnet.PerfectRouter{}}, latency: latency, mtu: 1500 - 48}
}

// listen makes a socket at the next address of 203.0.113.0/24.
func (s *sim) listen() net.PacketConn {
	s.tb.Helper()
	s.next++
	addr := &net.UDPAddr{IP: net.IP{203, 0, 113, s.next}, Port: 4774}
	one := &simnet.Simnet{Router: s.net.Router}
	c := &simSocket{SimConn: one.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{
		Latency:  s.latency,
		Downlink: simnet.LinkSettings{MTU: s.mtu},
		Uplink:   simnet.LinkSettings{MTU: s.mtu},
	}), net: one}
	check(s.tb, one.Start())
	return c
}

// transport runs a transport at the next address.
func (s *sim) transport() *Transport { return start(s.tb, newKey(s.tb), s.listen()) }

// A simSocket takes its link with it.
type simSocket struct {
	*simnet.SimConn
	net  *simnet.Simnet
	once sync.Once
}

func (s *simSocket) Close() (err error) {
	s.once.Do(func() {
		err = s.SimConn.Close()
		time.Sleep(time.Millisecond) // what was sent is still on the link
		err = errors.Join(err, s.net.Close())
	})
	return err
}
