package quic

import (
	"io"
	"testing"
)

// What paths cost: an ordinary connection beside them, and virtual ones by each kind
// of path. To be compared with ours of BenchmarkEcho and BenchmarkThroughput.
func BenchmarkPath(b *testing.B) {
	for _, kind := range []string{"ordinary", "direct", "port", "relayed"} {
		b.Run("echo/"+kind, func(b *testing.B) {
			c, y := benchPath(b, kind)
			go serveEcho(y)
			s, err := c.OpenStream(b.Context())
			check(b, err)
			measure(b, func() { echoOnce(b, s) })
		})
		b.Run("throughput/"+kind, func(b *testing.B) {
			c, y := benchPath(b, kind)
			go serveDiscard(y)
			s, err := c.OpenStream(b.Context())
			check(b, err)
			block := make([]byte, 1<<20)
			b.SetBytes(int64(len(block)))
			measure(b, func() {
				_, err := s.Write(block)
				check(b, err)
			})
			check(b, s.CloseWrite())
			_, err = io.Copy(io.Discard, s)
			check(b, err)
		})
	}
}

// benchPath makes a connection to y, by a path of that kind in both directions.
func benchPath(b *testing.B, kind string) (c *Conn, y *Transport) {
	b.Helper()
	h := &hub{}
	x := h.start(b, h.config(b), listenLoopback(b, "127.0.0.1"))
	y = h.start(b, h.config(b), listenLoopback(b, "127.0.0.1"))
	addr := y.LocalAddr()
	var err error
	switch kind {
	case "direct":
		direct(b, x, y)
		direct(b, y, x)
	case "port":
		p, q := openPort(b, x), openPort(b, y)
		check(b, x.SetPath(y.PublicKey(), Path{Addr: q.LocalAddr(), Via: p}))
		check(b, y.SetPath(x.PublicKey(), Path{Addr: p.LocalAddr(), Via: q}))
	}
	if kind != "ordinary" {
		addr, err = x.Virtual(y.PublicKey())
		check(b, err)
	}
	c, err = x.Dial(b.Context(), addr, y.PublicKey())
	check(b, err)
	return c, y
}

// A datagram of 1100 bytes, sent and received.
func BenchmarkDatagram(b *testing.B) {
	x, y := benchPair(b)
	c, d := connect(b, x, y)
	packet := make([]byte, 1100)
	b.SetBytes(int64(len(packet)))
	measure(b, func() {
		if !c.SendDatagram(packet) {
			b.Fatal("dropped")
		}
		_, err := d.ReceiveDatagram(b.Context())
		check(b, err)
	})
}
