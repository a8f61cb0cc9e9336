package node

import (
	"bytes"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// What a frame of many packets takes is in proportion to its size: the rest of it
// is not copied for each packet that is sent. It has the process to itself, as
// everybody's allocations are counted.
func TestLongFramesAreNotCopiedAgainAndAgain(t *testing.T) {
	near, far := streams(t)
	frame := wire.Frame{ID: 1, Body: wire.Offer{Records: make([]wire.Offered, wire.MaxOffer)}}
	var whole bytes.Buffer
	if err := wire.NewWriter(&whole).WriteFrame(frame); err != nil {
		t.Fatal(err)
	}
	size := whole.Len()
	const frames = 50
	in := make([]byte, size)
	out := newOutbox(near)
	var before, after runtime.MemStats
	for i := range 1 + frames {
		if i == 1 {
			runtime.ReadMemStats(&before)
		}
		if err := out.send(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, in); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	// It is 2.5 times its size, and 6 times with the race detector, which makes pools
	// forgetful. Copies of the rest for each packet are 26 times.
	if per := int(after.TotalAlloc-before.TotalAlloc) / frames; per > 12*size {
		t.Errorf("a frame of %d bytes takes %d, want at most %d", size, per, 12*size)
	}
}

// streams returns both ends of a stream between two sockets of the loopback
// interface.
func streams(t *testing.T) (near, far *quic.Stream) {
	t.Helper()
	var ends [2]*quic.Transport
	for i := range ends {
		socket, err := quic.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		if ends[i], err = quic.NewTransport(quic.Config{Key: testKey(i), ALPN: wire.ALPN("test"), Conn: socket}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	ctx := within(t, time.Minute)
	c, err := ends[0].Dial(ctx, ends[1].LocalAddr(), ends[1].PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if near, err = c.OpenStream(ctx); err != nil {
		t.Fatal(err)
	}
	near.Write([]byte{0}) // by which the other side hears of it
	if c, err = ends[1].Accept(ctx); err != nil {
		t.Fatal(err)
	}
	if far, err = c.AcceptStream(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// A peer that stops reading the request stream, but goes on talking, makes the
// link useless: it ends, and the next request opens another.
func TestLinkEndsWhenNothingCanBeSent(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		k := x.join(n, func(wire.PeerID, wire.Message) wire.Message { return wire.Pong{} })
		if _, err := n.Ping(within(t, time.Minute), x.id); err != nil {
			t.Fatal(err)
		}
		k.stream.CancelRead(7)
		time.Sleep(time.Second)
		n.Ping(within(t, time.Minute), x.id) // may fail: it finds out
		time.Sleep(time.Second)
		if k.conn.Err() == nil {
			t.Error("the connection is open still")
		}
		if _, err := n.Ping(within(t, time.Minute), x.id); err != nil {
			t.Errorf("another connection: %v", err)
		}
	})
}

// A peer that takes nothing of what is sent loses its connection, even if it
// asks nothing that would have to be answered.
func TestLinkEndsWhenNothingIsTaken(t *testing.T) {
	inSwarm(t, 1, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, x := s.nodes[0], s.stranger(1)
		k := x.meet(n) // and reads no more
		l, err := n.link(within(t, time.Minute), x.id)
		if err != nil {
			t.Fatal(err)
		}
		hello := wire.Hello{Mode: wire.ModeServer, Agent: strings.Repeat("a", wire.MaxAgent)}
		for range 1 << 14 { // 1 MiB, and what flow control lets pass
			l.rpc.out.send(wire.Frame{Body: hello})
		}
		if code := k.closed(); code != wire.CloseBusy {
			t.Errorf("closed with %d, want %d", code, wire.CloseBusy)
		}
	})
}
