package relay

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/wire"
)

var alice, bob, carol = wire.PeerID{1}, wire.PeerID{2}, wire.PeerID{3}

// The bytes that SPEC.md draws.
func TestDatagramPinned(t *testing.T) {
	for _, c := range []struct {
		d    Datagram
		want []byte
	}{
		{Datagram{Kind: Whole, Peer: alice, Content: []byte("hi")}, append(append([]byte{0}, alice[:]...), "hi"...)},
		{Datagram{Kind: Whole, From: true, Peer: alice, Content: []byte("hi")}, append(append([]byte{128}, alice[:]...), "hi"...)},
		{Datagram{First, false, bob, 0x102, []byte("h")}, append(append([]byte{1}, bob[:]...), "\x01\x02h"...)},
		{Datagram{Second, true, bob, 0x102, []byte("i")}, append(append([]byte{130}, bob[:]...), "\x01\x02i"...)},
		{Datagram{Kind: Credit, Peer: bob, Content: []byte{}}, append([]byte{3}, bob[:]...)},
		{Datagram{FirstCut, true, bob, 7, []byte("h")}, append(append([]byte{132}, bob[:]...), "\x00\x07h"...)},
		{Datagram{SecondCut, true, bob, 7, []byte("i")}, append(append([]byte{133}, bob[:]...), "\x00\x07i"...)},
		{Datagram{Kind: 99, Peer: bob, Content: []byte("?")}, append(append([]byte{99}, bob[:]...), "?"...)},
	} {
		b := c.d.Append(nil)
		if got, ok := Parse(b); !bytes.Equal(b, c.want) || !ok || !reflect.DeepEqual(got, c.d) {
			t.Errorf("%+v is %x, want %x; comes back as %+v, %v", c.d, b, c.want, got, ok)
		}
	}
}

// What is sent by one comes out at the other, whole or in parts, in any order of
// the parts, whatever is lost or repeated between, as long as no more than eight
// parts are ahead; and nothing comes out that was not sent.
func TestPartsComeTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var j Joiner
		max := rapid.SampledFrom([]int{1163, 1195, 1350, 1540}).Draw(t, "max")
		sent := map[string]bool{}
		var flight [][]byte
		overtaken := 0 // deliveries while flight[0] was under way
		got, whole := 0, 0
		deliver := func(b []byte) {
			if len(b) > max {
				t.Fatalf("a datagram of %d bytes, over %d", len(b), max)
			}
			d, ok := Parse(b)
			if !ok || d.Peer != alice {
				t.Fatalf("cannot parse %x", b)
			}
			if packet, ok := j.Add(d); ok {
				if !sent[string(packet)] {
					t.Fatalf("never sent: %d bytes", len(packet))
				}
				got++
			}
		}
		for n := range rapid.IntRange(1, 40).Draw(t, "packets") {
			packet := bytes.Repeat([]byte{byte(n + 1)}, rapid.SampledFrom([]int{1, 33, 1130, 1162, 1163, 1200, 1252, 1500}).Draw(t, "size"))
			sent[string(packet)] = true
			first := rapid.SampledFrom([]Kind{First, FirstCut}).Draw(t, "by")
			tap := &wireTap{max: max}
			if !send(tap, Datagram{Kind: first, Peer: alice, Number: uint16(n), Content: packet}) {
				t.Fatalf("%d bytes were not sent", len(packet))
			}
			flight = append(flight, tap.got...)
			whole++
			for len(flight) > 3 || len(flight) > 0 && rapid.Bool().Draw(t, "deliver") {
				i := rapid.IntRange(0, len(flight)-1).Draw(t, "which")
				if overtaken++; overtaken > maxParts/2 { // what is later than that counts as lost
					i = 0
				}
				if i == 0 {
					overtaken = 0
				}
				deliver(flight[i])
				flight = append(flight[:i], flight[i+1:]...)
			}
		}
		for _, b := range flight {
			deliver(b)
		}
		if got != whole {
			t.Fatalf("%d packets of %d came", got, whole)
		}
	})
}

// A joiner forgets what never becomes whole, and never holds more than its places.
func TestJoinerIsBounded(t *testing.T) {
	var j Joiner
	half := make([]byte, 700)
	for n := range 10000 {
		if _, ok := j.Add(Datagram{First, true, alice, uint16(n), half}); ok {
			t.Fatal("half a packet is whole")
		}
	}
	if len(j.parts) != maxParts {
		t.Error(len(j.parts))
	}
	if _, ok := j.Add(Datagram{Second, true, alice, 9999 - maxParts, half}); ok {
		t.Error("an old part was kept")
	}
	if packet, ok := j.Add(Datagram{Second, true, alice, 9999, half}); !ok || len(packet) != 1400 {
		t.Error("a new part was not kept")
	}
	if _, ok := j.Add(Datagram{SecondCut, true, alice, 9998, half}); ok {
		t.Error("parts of sender and relay were mixed")
	}
	big := make([]byte, MaxPacket)
	j.Add(Datagram{First, true, alice, 1, big})
	if _, ok := j.Add(Datagram{Second, true, alice, 1, big}); ok {
		t.Error("a packet longer than the longest")
	}
	if Send(&wireTap{max: 5000}, alice, make([]byte, MaxPacket+1), 1) || Send(&wireTap{max: 600}, alice, make([]byte, MaxPacket), 1) {
		t.Error("a packet that cannot be sent was")
	}
}

func FuzzDatagram(f *testing.F) {
	for kind := range Kind(8) {
		f.Add(Datagram{Kind: kind, Peer: alice, Number: 3, Content: []byte("content")}.Append(nil), []byte("more"))
	}
	f.Fuzz(func(t *testing.T, b, c []byte) {
		d, ok := Parse(b)
		if !ok {
			return
		}
		if again := d.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x", b, again)
		}
		var j Joiner
		for range 3 {
			if packet, ok := j.Add(d); ok && (len(packet) == 0 || len(packet) > MaxPacket) {
				t.Fatalf("a packet of %d bytes", len(packet))
			}
			if d, ok = Parse(c); !ok {
				return
			}
		}
	})
}
