package swarm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// The memory that a frame of many packets takes is proportional to its size: QUIC does not
// copy the rest of the frame for each packet. The test does not run in parallel with others,
// because it counts the allocations of the whole process.
func TestLongFramesAreCopiedOnce(t *testing.T) {
	near, far := streams(t)
	frame := wire.Frame{ID: 1, Body: wire.Offer{Records: make([]wire.Offered, wire.MaxOffer)}}
	var whole bytes.Buffer
	if err := wire.NewWriter(&whole).WriteFrame(frame); err != nil {
		t.Fatal(err)
	}
	size := whole.Len()
	const frames = 50
	in := make([]byte, size)
	out := newSendQueue(near)
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
		if ends[i], err = quic.NewTransport(quic.Config{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize)), ALPN: wire.ALPN("test"), Conn: socket}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := ends[0].Dial(ctx, ends[1].LocalAddr(), ends[1].PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if near, err = c.OpenStream(ctx); err != nil {
		t.Fatal(err)
	}
	near.Write([]byte{0}) // otherwise the other side does not learn of the stream
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
