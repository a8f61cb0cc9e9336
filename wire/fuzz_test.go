package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"

	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/kadquic/kadquic/wire/pb"
)

// Any bytes on a stream: frames come out, or one error at the end, the same
// however the bytes arrive.
func FuzzFrames(f *testing.F) {
	var stream []byte
	for _, s := range samples() {
		if b := AppendPrefixed(nil, s); len(b) < 1000 { // long seeds make slow fuzzing
			f.Add(b)
			stream = append(stream, b...)
		}
	}
	f.Add(stream)
	f.Add([]byte{0x80, 0x00})
	f.Add([]byte{0xff, 0xff, 0x03, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := NewReader(bytes.NewReader(b), 0)
		slow := NewReader(iotest.OneByteReader(bytes.NewReader(b)), 0)
		back := []byte{}
		for {
			m, err := whole.ReadMessage()
			n, slowErr := slow.ReadMessage()
			if !bytes.Equal(m, n) || (err == nil) != (slowErr == nil) || err != nil && err.Error() != slowErr.Error() {
				t.Fatalf("%x: at once %x, %v; slowly %x, %v", b, m, err, n, slowErr)
			}
			if err != nil {
				if err == io.EOF && !bytes.Equal(back, b) {
					t.Fatalf("%x reads as %x", b, back)
				}
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
					t.Fatalf("%x: %v", b, err)
				}
				return
			}
			// What frames are made of encodes back to the same bytes.
			back = append(appendVarint(back, len(m)), m...)
			checkFrame(t, m)
		}
	})
}

func appendVarint(b []byte, n int) []byte {
	v := uint64(n)
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// Any bytes as the body of any message.
func FuzzMessage(f *testing.F) {
	for _, s := range samples() {
		if b := s.Body.encode(nil); len(b) < 1000 {
			f.Add(uint8(s.Body.body()-firstBody), s.ID, b)
		}
	}
	f.Add(uint8(bodyStored-firstBody), uint64(1), []byte("\x08\x00\x0a\x01\x08"))
	f.Add(uint8(bodyOffer-firstBody), uint64(1), bytes.Repeat([]byte("\x0a\x00"), MaxOffer+1))
	f.Add(uint8(bodyWanted-firstBody), uint64(1), []byte("\x0a\x01\x01\x0a\x00")) // the last counts
	f.Add(uint8(bodyStore-firstBody), uint64(1), []byte("\x20\x00"))
	f.Add(uint8(bodyDialBack-firstBody), uint64(1), []byte("\x0a\x00\x0a\x01\x04\x1a\x01x")) // no address that is known
	f.Add(uint8(bodyReserved-firstBody), uint64(1), []byte("\x08\xff\xff\xff\xff\x7f\x10\xff\xff\xff\xff\x0f"))
	f.Add(uint8(bodyDialBack-firstBody), uint64(1), bytes.Repeat([]byte("\x0a\x00"), MaxDialBack+1))
	f.Fuzz(func(t *testing.T, typ uint8, id uint64, body []byte) {
		typ = firstBody + typ%(lastBody-firstBody+1)
		b := appendUint(nil, 1, id)
		if typ > 15 {
			b = append(b, typ&15<<3|0x82, typ>>4)
		} else {
			b = append(b, typ<<3|2)
		}
		b = append(appendVarint(b, len(body)), body...)
		fr := checkFrame(t, b)
		if fr.ID != id || fr.Body == nil || fr.Body.body() != int(typ) {
			t.Fatalf("type %d, id %d, body %x: parsed as %+v", typ, id, body, fr)
		}
	})
}

// checkFrame parses b: within limits, the same as the generated code has it,
// and out and in again.
func checkFrame(t *testing.T, b []byte) Frame {
	f, err := ParseFrame(b)
	if err != nil {
		var invalid *InvalidError
		if f.Body != nil && !errors.As(err, &invalid) || f.Body == nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%x: %+v, %v", b, f, err)
		}
		return f
	}
	if _, ok := f.Body.(Unknown); !ok {
		var p pb.Frame
		if err := proto.Unmarshal(b, &p); err != nil {
			t.Fatalf("%x: parsed as %+v, but not by the generated code: %v", b, f, err)
		}
		if want := fromPB(&p); !reflect.DeepEqual(f, want) {
			t.Fatalf("%x: parsed as\n%#v, by the generated code as\n%#v", b, f, want)
		}
		if want := generated(t, f); !bytes.Equal(AppendFrame(nil, f), want) {
			t.Fatalf("%#v: written as %x, by the generated code as %x", f, AppendFrame(nil, f), want)
		}
	}
	again, err := ParseFrame(AppendFrame(nil, f))
	if err != nil || !reflect.DeepEqual(again, f) {
		t.Fatalf("%#v comes back as %#v, %v", f, again, err)
	}
	return f
}

// A candidate offer verifies only if it was signed, and is read as the generated
// code reads it.
func FuzzCandidateOffer(f *testing.F) {
	f.Add(sampleOffer().encode(nil))
	f.Add(answer().encode(nil))
	f.Add([]byte("\x32\x00\x38\xff\xff\xff\xff\x7f\x40\x02"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		i, why := parseCandidateOffer(payload)
		if _, err := ParseCandidateOffer(append(make([]byte, 64), payload...)); err == nil || !errors.Is(err, ErrCandidateOffer) {
			t.Fatalf("%x: %v without a signature", payload, err)
		}
		if why != "" {
			return
		}
		var p pb.Introduction
		if err := proto.Unmarshal(payload, &p); err != nil || !reflect.DeepEqual(i, candidateOfferFromPB(&p)) {
			t.Fatalf("%x: parsed as %+v, by the generated code as %+v, %v", payload, i, &p, err)
		}
		want, err := canonical.Marshal(candidateOfferToPB(i))
		if err != nil || !bytes.Equal(i.encode(nil), want) {
			t.Fatalf("%+v: written as %x, by the generated code as %x, %v", i, i.encode(nil), want, err)
		}
		if len(want)+64 > MaxCandidateOffer {
			t.Fatalf("a candidate offer of %d bytes", len(want)+64)
		}
		i.From = idOf(alice)
		if back, err := ParseCandidateOffer(i.Sign(alice)); err != nil || !reflect.DeepEqual(back, i) {
			t.Fatalf("%+v comes back as %+v, %v", i, back, err)
		}
	})
}

// Signed and stored records encode back to the same bytes.
func FuzzRecord(f *testing.F) {
	for _, s := range records() {
		f.Add(s.Payload, s.Signature[:])
	}
	f.Fuzz(func(t *testing.T, payload, signature []byte) {
		stored := appendBytes(appendBytes(nil, 1, payload), 2, signature)
		s, err := ParseSigned(stored)
		r, ok := parseRecord(payload)
		if ok {
			if again := appendRecord(nil, &r); !bytes.Equal(again, payload) {
				t.Fatalf("%x encodes back as %x", payload, again)
			}
			var p pb.Record
			if err := proto.Unmarshal(payload, &p); err != nil || !proto.Equal(&p, recordToPB(&r)) {
				t.Fatalf("%+v, by the generated code %v, %v", r, &p, err)
			}
		}
		if (err == nil) != (ok && len(signature) == 64) {
			t.Fatalf("payload %x parses: %v; as stored: %v", payload, ok, err)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(AppendSigned(nil, s), stored) || s.Size() != len(stored) {
			t.Fatalf("%x is stored as %x", stored, AppendSigned(nil, s))
		}
		s.Hash()
		if info, err := s.Record.PeerInfo(); err == nil {
			if _, err := info.Value(); err != nil {
				t.Fatalf("peer info %+v: %v", info, err)
			}
		}
		if err := s.Verify(noon); err == nil && s.Record.Publisher == idOf(alice) {
			for _, known := range records() {
				if bytes.Equal(known.Payload, payload) {
					return
				}
			}
			t.Fatalf("alice never signed %+v", s.Record)
		}
	})
}

// Our whitelist is go-multiaddr's grammar, narrowed.
func FuzzAddr(f *testing.F) {
	f.Add([]byte(addr6))
	f.Add([]byte(addrDNS))
	f.Add([]byte(addr4(1, 1)))
	f.Add([]byte("\x38\x01a"))
	f.Add([]byte("\x04\x01\x02\x03\x04\x06\x12\xa6"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAddr(b)
		if err != nil {
			return
		}
		m, err := ma.NewMultiaddrBytes(b)
		if err != nil || !bytes.Equal(m.Bytes(), b) || a.String() != m.String() || !a.Multiaddr().Equal(m) {
			t.Fatalf("%x is %s, by go-multiaddr %v, %v", b, a, m, err)
		}
		if back, err := AddrOf(m); err != nil || back != a {
			t.Fatalf("%s comes back as %s, %v", a, back, err)
		}
		if ap, ok := a.AddrPort(); ok && AddrFrom(ap) != a {
			t.Fatalf("%s comes back as %s", a, AddrFrom(ap))
		}
	})
}

// Addresses as users write them.
func FuzzAddrText(f *testing.F) {
	f.Add("/ip4/192.0.2.7/udp/4774/quic-v1/p2p/" + aliceID)
	f.Add("/ip6/::ffff:1.2.3.4/udp/1/quic-v1")
	f.Add("/dns4/example.com/udp/4774/quic-v1/p2p/" + aliceBase36)
	f.Add("/dnsaddr/example.com/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
	f.Add("/p2p/11")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ma.NewMultiaddr(s)
		if err != nil {
			return
		}
		a, id, err := SplitPeer(m)
		if err != nil {
			if a != "" || !id.IsZero() || !errors.Is(err, ErrAddr) && !errors.Is(err, ErrPeerID) {
				t.Fatalf("%q: %s, %s, %v", s, a, id, err)
			}
			return
		}
		back, backID, err := SplitPeer(JoinPeer(a, id))
		if err != nil || back != a || backID != id {
			t.Fatalf("%q: %s, %s comes back as %s, %s, %v", s, a, id, back, backID, err)
		}
	})
}

// A key has many texts, and we write one.
func FuzzPeerID(f *testing.F) {
	for _, s := range []string{aliceID, aliceBase32, aliceBase36, "", "11", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePeerID(s)
		if err != nil {
			if !errors.Is(err, ErrPeerID) {
				t.Fatal(err)
			}
			return
		}
		back, err := ParsePeerID(id.String())
		if err != nil || back != id || len(id.String()) != 52 {
			t.Fatalf("%q is %s, %v", s, id, err)
		}
	})
}

func FuzzStreamHeader(f *testing.F) {
	f.Add(AppendStreamHeader(nil, "/app/chat/1.0.0"))
	f.Add([]byte("\x80\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		name, err := ReadStreamHeader(r)
		if err != nil {
			if !errors.Is(err, ErrStreamHeader) {
				t.Fatal(err)
			}
			return
		}
		if CheckProtocol(name) != nil {
			t.Fatalf("%q passed", name)
		}
		if n := b[0]; n < 0x80 && r.Len() != len(b)-1-int(n) {
			t.Fatalf("%d bytes read of a header of %d", len(b)-r.Len(), n)
		}
	})
}
