package quic

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"io"
	"net"
	"testing"

	quicgo "github.com/quic-go/quic-go"
)

// Each benchmark runs the same exchange over this package and over plain
// quic-go, so that one run shows the cost of this package.

func BenchmarkConnect(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		x, y := benchPair(b)
		go serveEcho(y)
		measure(b, func() {
			c, err := x.Dial(b.Context(), y.LocalAddr(), y.PublicKey())
			check(b, err)
			s, err := c.OpenStream(b.Context())
			check(b, err)
			echoOnce(b, s)
			check(b, c.Close(0, ""))
		})
	})
	b.Run("raw", func(b *testing.B) {
		x, y := newRaw(b), newRaw(b)
		go y.serveEcho()
		measure(b, func() {
			c := x.dial(b, y)
			s, err := c.OpenStream()
			check(b, err)
			echoOnce(b, s)
			check(b, c.CloseWithError(0, ""))
		})
	})
}

func BenchmarkEcho(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		x, y := benchPair(b)
		go serveEcho(y)
		c, err := x.Dial(b.Context(), y.LocalAddr(), y.PublicKey())
		check(b, err)
		s, err := c.OpenStream(b.Context())
		check(b, err)
		measure(b, func() { echoOnce(b, s) })
	})
	b.Run("raw", func(b *testing.B) {
		x, y := newRaw(b), newRaw(b)
		go y.serveEcho()
		s, err := x.dial(b, y).OpenStream()
		check(b, err)
		measure(b, func() { echoOnce(b, s) })
	})
}

func BenchmarkFreshStream(b *testing.B) {
	b.Run("ours", func(b *testing.B) {
		x, y := benchPair(b)
		go serveEcho(y)
		c, err := x.Dial(b.Context(), y.LocalAddr(), y.PublicKey())
		check(b, err)
		measure(b, func() {
			s, err := c.OpenStream(b.Context())
			check(b, err)
			echoOnce(b, s)
			check(b, s.CloseWrite())
			_, err = io.Copy(io.Discard, s)
			check(b, err)
		})
	})
	b.Run("raw", func(b *testing.B) {
		x, y := newRaw(b), newRaw(b)
		go y.serveEcho()
		c := x.dial(b, y)
		measure(b, func() {
			s, err := c.OpenStreamSync(b.Context())
			check(b, err)
			echoOnce(b, s)
			check(b, s.Close())
			_, err = io.Copy(io.Discard, s)
			check(b, err)
		})
	})
}

func BenchmarkThroughput(b *testing.B) {
	block := make([]byte, 1<<20)
	b.Run("ours", func(b *testing.B) {
		x, y := benchPair(b)
		go serveDiscard(y)
		c, err := x.Dial(b.Context(), y.LocalAddr(), y.PublicKey())
		check(b, err)
		s, err := c.OpenStream(b.Context())
		check(b, err)
		b.SetBytes(int64(len(block)))
		measure(b, func() {
			_, err := s.Write(block)
			check(b, err)
		})
		check(b, s.CloseWrite())
		_, err = io.Copy(io.Discard, s)
		check(b, err)
	})
	b.Run("raw", func(b *testing.B) {
		x, y := newRaw(b), newRaw(b)
		go y.serveDiscard()
		s, err := x.dial(b, y).OpenStream()
		check(b, err)
		b.SetBytes(int64(len(block)))
		measure(b, func() {
			_, err := s.Write(block)
			check(b, err)
		})
		check(b, s.Close())
		_, err = io.Copy(io.Discard, s)
		check(b, err)
	})
}

// measure runs op and reports the CPU time it took, both ends together.
func measure(b *testing.B, op func()) {
	b.Helper()
	b.ReportAllocs()
	op()
	var start float64
	for first := true; b.Loop(); first = false {
		if first {
			start = cpuSeconds()
		}
		op()
	}
	b.ReportMetric((cpuSeconds()-start)*1e6/float64(b.N), "cpu-µs/op")
}

// A request of 40 bytes is answered with 1200.
func echoOnce(tb testing.TB, s io.ReadWriter) {
	var request [40]byte
	var reply [1200]byte
	_, err := s.Write(request[:])
	check(tb, err)
	_, err = io.ReadFull(s, reply[:])
	check(tb, err)
}

func answer(s io.ReadWriteCloser) {
	defer s.Close()
	var request [40]byte
	var reply [1200]byte
	for {
		if _, err := io.ReadFull(s, request[:]); err != nil {
			return
		}
		if _, err := s.Write(reply[:]); err != nil {
			return
		}
	}
}

func discard(s io.ReadWriteCloser) {
	defer s.Close()
	buf := make([]byte, 64<<10)
	for {
		if _, err := s.Read(buf); err != nil {
			return
		}
	}
}

func benchPair(b *testing.B) (x, y *Transport) {
	b.Helper()
	return newLoopback(b, "127.0.0.1"), newLoopback(b, "127.0.0.1")
}

func serveEcho(t *Transport)    { serve(t, answer) }
func serveDiscard(t *Transport) { serve(t, discard) }

// raw is quic-go as it comes, with the same TLS.
type raw struct {
	t   *quicgo.Transport
	ln  *quicgo.Listener
	tls *tls.Config
}

func newRaw(b *testing.B) *raw {
	b.Helper()
	key, err := GenerateKey()
	check(b, err)
	cert, err := certificate(key)
	check(b, err)
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(b, err)
	r := &raw{
		t: &quicgo.Transport{Conn: u},
		tls: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{cert},
			NextProtos:             []string{"test/1"},
			ClientAuth:             tls.RequireAnyClientCert,
			SessionTicketsDisabled: true,
		},
	}
	r.ln, err = r.t.Listen(r.tls, rawConfig)
	check(b, err)
	b.Cleanup(func() {
		r.t.Close()
		u.Close()
	})
	return r
}

var rawConfig = &quicgo.Config{InitialPacketSize: InitialPacketSize}

func (r *raw) dial(b *testing.B, to *raw) *quicgo.Conn {
	c := r.tls.Clone()
	c.InsecureSkipVerify = true
	want := to.tls.Certificates[0].Leaf.PublicKey.(ed25519.PublicKey)
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if !want.Equal(s.PeerCertificates[0].PublicKey) {
			return ErrWrongKey
		}
		return nil
	}
	conn, err := r.t.Dial(b.Context(), to.t.Conn.LocalAddr(), c, rawConfig)
	check(b, err)
	return conn
}

func (r *raw) serve(handle func(io.ReadWriteCloser)) {
	ctx := context.Background()
	for {
		c, err := r.ln.Accept(ctx)
		if err != nil {
			return
		}
		go func() {
			for {
				s, err := c.AcceptStream(ctx)
				if err != nil {
					return
				}
				go handle(s)
			}
		}()
	}
}

func (r *raw) serveEcho()    { r.serve(answer) }
func (r *raw) serveDiscard() { r.serve(discard) }
