package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/internal/swarm"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// listen opens a listener of the i-th node's, for the test's time.
func (s *testNetwork) listen(i int, protocol string) *Listener {
	s.t.Helper()
	ln, err := s.nodes[i].Listen(protocol)
	if err != nil {
		s.t.Fatal(err)
	}
	return ln
}

// echo accepts streams and returns what it reads on them.
func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

func (s *testNetwork) dial(from, to int, protocol string) *Stream {
	s.t.Helper()
	c, err := s.nodes[from].Dial(within(s.t, time.Minute), s.nodes[to].ID(), protocol)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// A stream is a net.Conn between two proved peers; each protocol has its own.
func TestStreams(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		go echo(s.listen(1, "/app/echo/1.0.0"))
		other := s.listen(1, "/app/other/1.0.0")
		c := s.dial(0, 1, "/app/echo/1.0.0")
		defer c.Close()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("echo: %q, %v", b, err)
		}
		if id := c.Peer(); id != s.nodes[1].ID() || c.Protocol() != "/app/echo/1.0.0" {
			t.Errorf("dialled %v, %q", id, c.Protocol())
		}
		d := s.dial(0, 1, "/app/other/1.0.0")
		defer d.Close()
		accepted, err := other.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if id := accepted.Peer(); id != s.nodes[0].ID() || accepted.Protocol() != "/app/other/1.0.0" {
			t.Errorf("accepted from %v, %q", id, accepted.Protocol())
		}
		if from := accepted.RemoteAddr().String(); from != host(0).String() {
			t.Errorf("accepted from %s", from)
		}
		if a := other.Addr(); a.Network() != "kadquic" || a.String() != "/app/other/1.0.0" {
			t.Errorf("listener at %s %s", a.Network(), a)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read past the deadline: %v", err)
		}
	})
}

// Half a stream can end before the other: the answer comes after the question's
// end. 8 MiB, beyond every window.
func TestStreamsCarryMuchAndHalfClose(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 2 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		ln := s.listen(1, "/hash")
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			h := sha256.New()
			if _, err := io.Copy(h, c); err == nil { // to the end
				c.Write(h.Sum(nil))
			}
		}()
		data := make([]byte, 8<<20)
		rand.NewChaCha8([32]byte{}).Read(data)
		c := s.dial(0, 1, "/hash")
		defer c.Close()
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		want := sha256.Sum256(data)
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("the hash came back as %x, %v", got, err)
		}
	})
}

// The first read of a stream for a protocol without a listener, or with a closed one, returns a typed
// error.
func TestStreamsOfUnknownProtocols(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		wantNone := func(what string) {
			t.Helper()
			c := s.dial(0, 1, "/x")
			defer c.Close()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrNoProtocol) {
				t.Errorf("%s: read: %v", what, err)
			}
			if _, err := c.Write(make([]byte, 1)); !errors.Is(err, ErrNoProtocol) {
				t.Errorf("%s: write: %v", what, err)
			}
		}
		wantNone("never listened")
		ln := s.listen(1, "/x")
		if _, err := s.nodes[1].Listen("/x"); err == nil {
			t.Error("two listeners of one protocol")
		}
		waiting := s.dial(0, 1, "/x") // is not accepted
		defer waiting.Close()
		time.Sleep(time.Second)
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		var reset *quic.ResetError
		if _, err := waiting.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetLeaving {
			t.Errorf("a stream that waited: %v", err)
		}
		wantNone("closed")
		s.listen(1, "/x") // free again
		for _, bad := range []string{"", "with space", "/ünïcode", string(make([]byte, 200))} {
			if _, err := s.nodes[0].Listen(bad); err == nil {
				t.Errorf("listens for %q", bad)
			}
			if _, err := s.nodes[0].Dial(t.Context(), s.nodes[1].ID(), bad); err == nil {
				t.Errorf("dials for %q", bad)
			}
		}
		if _, err := s.nodes[0].Dial(t.Context(), s.nodes[0].ID(), "/x"); err == nil {
			t.Error("dials itself")
		}
	})
}

// Streams beyond a listener's backlog are refused, not kept.
func TestStreamsBeyondTheBacklog(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		defer s.listen(1, "/slow").Close() // does not accept
		var last net.Conn
		for range maxBacklog + 1 {
			last = s.dial(0, 1, "/slow")
			defer last.Close()
			time.Sleep(time.Millisecond)
		}
		var reset *quic.ResetError
		if _, err := last.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetBusy {
			t.Errorf("one too many: %v", err)
		}
	})
}

// A stream that names no protocol, or an invalid one, is reset, and disturbs no other stream.
func TestStreamsOfGarbage(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		k := s.stranger(0).meet(s.nodes[0])
		for _, bytes := range [][]byte{{0}, {0xff, 0xff, 0xff}, {3, 1, 2, 3}, {100}, wire.AppendStreamHeader(nil, "/with space")} {
			stream, err := k.conn.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stream.Write(bytes)
			var reset *quic.ResetError
			stream.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := stream.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetProtocol {
				t.Errorf("after %x: %v", bytes, err)
			}
		}
		if _, ok := k.ask(wire.Ping{}).(wire.Pong); !ok {
			t.Error("the connection does not work any more")
		}
	})
}

// Applications that do not read use up the window that all streams of a connection
// share. Requests get through nevertheless, both ways, by another connection, and no
// stream loses anything.
func TestRequestsPassUnreadStreams(t *testing.T) {
	for _, to := range []int{0, 1} { // the side that does not read
		t.Run([]string{"acceptor", "dialler"}[to], func(t *testing.T) {
			inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				const streams, size = 4, 512 << 10
				ln := s.listen(to, "/app/slow/1.0.0")
				wrote := make(chan error, 3*streams)
				open := func() {
					for range streams {
						c := s.dial(1-to, to, "/app/slow/1.0.0")
						t.Cleanup(func() { c.Close() })
						go func() {
							_, err := c.Write(make([]byte, size))
							wrote <- err
						}()
					}
					time.Sleep(10 * time.Second)
				}
				for connections := 2; connections <= 3; connections++ {
					open()
					for i := range 2 {
						n, peer := s.nodes[i], s.nodes[1-i]
						begin := time.Now()
						if _, err := n.Ping(within(t, time.Minute), peer.ID()); err != nil {
							t.Errorf("ping: %v", err)
						}
						if took := time.Since(begin); took > swarm.PingAfter+swarm.StalledAfter+200*time.Millisecond {
							t.Errorf("a ping took %v", took)
						}
						if l, err := n.link(within(t, time.Minute), peer.ID()); err != nil || l.conn.Retired() {
							t.Errorf("the connection for requests: %v, %v", l, err)
						}
						if n.marked() > 0 || n.hasPeer(peer.ID()) != 1 {
							t.Error("the peer is blamed")
						}
					}
					// If both sides dial at the same moment, one of the two connections ends
					// when it has been unused for a while.
					for range 10 {
						if s.nodes[0].Stats().Connections == connections && s.nodes[1].Stats().Connections == connections {
							break
						}
						time.Sleep(time.Second)
					}
					for i, n := range s.nodes {
						if c := n.Stats().Connections; c != connections {
							t.Errorf("node %d has %d connections, want %d", i, c, connections)
						}
					}
				}
				time.Sleep(10 * time.Minute)
				for range 2 * streams {
					c, err := ln.Accept()
					if err != nil {
						t.Fatal(err)
					}
					go func() {
						io.Copy(io.Discard, c)
						c.Close()
					}()
				}
				for range 2 * streams {
					if err := <-wrote; err != nil {
						t.Errorf("a stream that was not read for long: %v", err)
					}
				}
			})
		})
	}
}

// To leave stream after stream unread is no way to ever more connections: the
// oldest goes, and its streams with it.
func TestUnreadStreamsAreBounded(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.listen(1, "/app/slow/1.0.0")
		var first net.Conn
		for range 7 {
			for range 4 {
				c := s.dial(0, 1, "/app/slow/1.0.0")
				defer c.Close()
				if first == nil {
					first = c
				}
				go c.Write(make([]byte, 512<<10))
			}
			time.Sleep(10 * time.Second)
			if _, err := s.nodes[0].Ping(within(t, time.Minute), s.nodes[1].ID()); err != nil {
				t.Errorf("ping: %v", err)
			}
			for i, n := range s.nodes {
				if c := n.Stats().Connections; c > 4 {
					t.Errorf("node %d has %d connections to one peer", i, c)
				}
			}
		}
		if _, err := first.Read(make([]byte, 1)); err == nil {
			t.Error("the first stream lives")
		}
	})
}

// A peer that has died takes its streams with it, before QUIC gives up.
func TestStreamsEndWithTheirPeer(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.listen(1, "/app/x/1.0.0")
		c := s.dial(0, 1, "/app/x/1.0.0")
		defer c.Close()
		time.Sleep(time.Second)
		s.kill(1)
		s.nodes[0].Ping(within(t, time.Minute), s.nodes[1].ID())
		c.SetReadDeadline(time.Now().Add(55 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}
