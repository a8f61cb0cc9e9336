package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A stranger is a peer that keeps to QUIC, and to the rest as far as a test
// wants: it is made of packages quic and wire alone.
type stranger struct {
	*quic.Transport
	t     *testing.T
	key   ed25519.PrivateKey
	id    wire.PeerID
	at    netip.AddrPort
	hello wire.Hello // what it says first
}

// strangerHost is where the i-th stranger lives.
func strangerHost(i int) netip.AddrPort { return host(1000 + i) }

// stranger makes the i-th stranger, a server by its own word. It ends with the
// test.
func (s *testNetwork) stranger(i int) *stranger { return s.strangerAt(i, strangerHost(i)) }

func (s *testNetwork) strangerAt(i int, at netip.AddrPort) *stranger {
	s.t.Helper()
	key := testKey(1000 + i)
	transport, err := quic.NewTransport(quic.Config{Key: key, ALPN: wire.ALPN("main"), Conn: s.net.Listen(at)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { transport.Close() })
	return &stranger{
		Transport: transport,
		t:         s.t,
		key:       key,
		id:        wire.PeerID(transport.PublicKey()),
		at:        at,
		hello:     wire.Hello{Mode: wire.ModeServer, Agent: "stranger", Clock: time.Now()},
	}
}

// dial connects to a node and says nothing.
func (x *stranger) dial(n *Node) *quic.Conn {
	x.t.Helper()
	ap, _ := n.addrs()[0].AddrPort()
	c, err := x.Dial(within(x.t, time.Minute), ap, quic.PublicKey(n.ID()))
	if err != nil {
		x.t.Fatalf("stranger dials: %v", err)
	}
	return c
}

// open connects and opens the request stream, without a HELLO.
func (x *stranger) open(n *Node) *talk {
	x.t.Helper()
	c := x.dial(n)
	stream, err := c.OpenStream(within(x.t, time.Minute))
	if err != nil {
		x.t.Fatalf("stranger opens a stream: %v", err)
	}
	return &talk{t: x.t, conn: c, stream: stream, in: wire.NewReader(stream, 0)}
}

// meet connects to a node and exchanges HELLO.
func (x *stranger) meet(n *Node) *talk {
	x.t.Helper()
	k := x.open(n)
	k.send(wire.Frame{Body: x.hello})
	f, err := k.in.ReadFrame()
	if err != nil {
		x.t.Fatalf("stranger reads HELLO: %v", err)
	}
	var ok bool
	if k.hello, ok = f.Body.(wire.Hello); !ok {
		x.t.Fatalf("first frame is %T, want HELLO", f.Body)
	}
	return k
}

// join makes the stranger a member of the network: it connects to a node, and answers requests by the
// given function. If that returns nil it does not answer.
func (x *stranger) join(n *Node, answer func(asker wire.PeerID, m wire.Message) wire.Message) *talk {
	x.t.Helper()
	go func() {
		for {
			c, err := x.Accept(context.Background())
			if err != nil {
				return
			}
			go x.accepted(c, answer)
		}
	}()
	k := x.meet(n)
	go k.serve(answer)
	time.Sleep(time.Second) // of virtual time: the HELLO arrives
	return k
}

func (x *stranger) accepted(c *quic.Conn, answer func(wire.PeerID, wire.Message) wire.Message) {
	stream, err := c.AcceptStream(context.Background())
	if err != nil {
		return
	}
	k := &talk{t: x.t, conn: c, stream: stream, in: wire.NewReader(stream, 0)}
	if _, err := k.in.ReadFrame(); err != nil {
		return
	}
	wire.NewWriter(stream).WriteFrame(wire.Frame{Body: x.hello})
	k.serve(answer)
}

// A talk is a stranger's connection and its request stream.
type talk struct {
	t      *testing.T
	conn   *quic.Conn
	stream *quic.Stream
	in     *wire.Reader
	hello  wire.Hello // what the node said first
	asked  uint64
}

func (k *talk) serve(answer func(wire.PeerID, wire.Message) wire.Message) {
	out := wire.NewWriter(k.stream)
	for {
		f, err := k.in.ReadFrame()
		if err != nil {
			return
		}
		if !f.IsRequest() {
			continue
		}
		if m := answer(wire.PeerID(k.conn.RemoteKey()), f.Body); m != nil {
			out.WriteFrame(wire.Frame{ID: f.ID, Body: m})
		}
	}
}

// write sends bytes as they are.
func (k *talk) write(b []byte) {
	k.t.Helper()
	if _, err := k.stream.Write(b); err != nil {
		k.t.Fatalf("stranger writes: %v", err)
	}
}

func (k *talk) send(f wire.Frame) {
	k.t.Helper()
	if err := wire.NewWriter(k.stream).WriteFrame(f); err != nil {
		k.t.Fatalf("stranger writes: %v", err)
	}
}

// ask sends a request and returns the answer to it.
func (k *talk) ask(m wire.Message) wire.Message {
	k.t.Helper()
	k.asked++
	k.send(wire.Frame{ID: k.asked, Body: m})
	return k.answer(k.asked)
}

// answer reads on until the frame with that id.
func (k *talk) answer(id uint64) wire.Message {
	k.t.Helper()
	k.stream.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		f, err := k.in.ReadFrame()
		if err != nil {
			k.t.Fatalf("stranger waits for an answer: %v", err)
		}
		if f.ID == id {
			return f.Body
		}
	}
}

// closed waits until the node has closed the connection and returns the code.
func (k *talk) closed() uint64 { return closeCodeOf(k.t, k.conn) }

func closeCodeOf(t *testing.T, c *quic.Conn) uint64 {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is still open after 10 s")
	}
	var closed *quic.CloseError
	if !errors.As(c.Err(), &closed) || !closed.Remote {
		t.Fatalf("the connection ended with %v, want a close by the node", c.Err())
	}
	return closed.Code
}
