package quic

import (
	"bytes"
	"testing"
)

func TestConnIDs(t *testing.T) {
	a, b := connIDs{virtual: true, secret: [32]byte{1}}, connIDs{virtual: true, secret: [32]byte{2}}
	for range 100 {
		id, err := a.GenerateConnectionID()
		check(t, err)
		plain, err := connIDs{}.GenerateConnectionID()
		check(t, err)
		if id.Len() != a.ConnectionIDLen() || plain.Len() != (connIDs{}).ConnectionIDLen() {
			t.Fatalf("IDs of %d and %d bytes", id.Len(), plain.Len())
		}
		if !isVirtual(id.Bytes()) || !a.issued(id.Bytes()) || b.issued(id.Bytes()) {
			t.Errorf("%v is virtual %v, ours %v, theirs %v", id, isVirtual(id.Bytes()), a.issued(id.Bytes()), b.issued(id.Bytes()))
		}
		if isVirtual(plain.Bytes()) || a.issued(plain.Bytes()) {
			t.Errorf("%v is virtual", plain)
		}
		for _, want := range [][]byte{id.Bytes(), plain.Bytes()} {
			packet := append([]byte{0x40}, want...)
			if h, ok := readHeader(append(packet, 9, 9, 9)); !ok || h.long || h.from != nil || !bytes.Equal(h.to, want) {
				t.Errorf("short header: %+v, %v", h, ok)
			}
			if isShortHeader(packet) == isVirtual(want) {
				t.Errorf("%x: isShortHeader %v", packet, isShortHeader(packet))
			}
			drawn := []byte{1, 2, 3, 4, 5, 6, 7, 8}
			packet = append([]byte{0xc3, 0, 0, 0, 1, 8}, drawn...)
			packet = append(append(packet, byte(len(want))), want...)
			if h, ok := readHeader(packet); !ok || !h.long || !bytes.Equal(h.to, drawn) || !bytes.Equal(h.from, want) || h.calls() != isVirtual(want) {
				t.Errorf("long header: %+v, %v", h, ok)
			}
			for n := range packet {
				if _, ok := readHeader(packet[:n]); ok {
					t.Errorf("%d of %d bytes are a header", n, len(packet))
				}
			}
		}
	}
}

// No packet from the socket or a relay does harm, and packets that belong to no path
// are left to quic-go.
func FuzzTake(f *testing.F) {
	f.Add([]byte{0x40, 0x80, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 7, 0x80, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{1})
	h := &hub{}
	x := h.start(f, h.config(f), listenLoopback(f, "127.0.0.1"))
	y := h.start(f, h.config(f), listenLoopback(f, "127.0.0.1"))
	direct(f, x, y)
	p := openPort(f, x)
	f.Fuzz(func(t *testing.T, b []byte) {
		if isShortHeader(b) && len(b) > 1 && b[1]&0x80 != 0 {
			t.Errorf("%x passes for an ordinary packet", b)
		}
		x.Deliver(y.PublicKey(), b)
		if len(b) == 0 || isShortHeader(b) {
			return
		}
		for _, via := range []*Port{nil, p} {
			x.paths.take(via, y.LocalAddr(), b, 0)
			x.paths.take(via, p.LocalAddr(), b, 0)
		}
	})
}
