package wire

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire/pb"
)

// The messages of a lookup and of a put, in both codecs.
var benchFrames = []struct {
	name  string
	frame Frame
}{
	{"find-node", Frame{ID: 1000, Body: FindNode{Key: routing.KeyOf("hello"), Count: 20}}},
	{"nodes-20", Frame{ID: 1000, Body: Nodes{Contacts: contacts(20)}}},
	{"store-100B", Frame{ID: 1000, Body: Store{Records: []*Signed{openRecord("hello", string(make([]byte, 100)))}, Count: 20}}},
}

func BenchmarkEncode(b *testing.B) {
	for _, f := range benchFrames {
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendFrame(buf[:0], f.frame)
			}
			b.SetBytes(int64(len(buf)))
		})
		b.Run(f.name+"/generated", func(b *testing.B) {
			b.ReportAllocs()
			p := toPB(f.frame)
			var buf []byte
			for b.Loop() {
				buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], p)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

// The generated code stops at its own types: ours has validated, too.
func BenchmarkDecode(b *testing.B) {
	for _, f := range benchFrames {
		buf := AppendFrame(nil, f.frame)
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := ParseFrame(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(f.name+"/generated", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if err := proto.Unmarshal(buf, new(pb.Frame)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A reply written to and read from a stream, framing included.
func BenchmarkStream(b *testing.B) {
	f := benchFrames[1].frame
	var stream bytes.Buffer
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		w := NewWriter(&stream)
		for b.Loop() {
			stream.Reset()
			if err := w.WriteFrame(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = AppendPrefixed(buf[:0], f)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		r := NewReader(&endless{b: AppendPrefixed(nil, f)}, 0)
		for b.Loop() {
			if _, err := r.ReadFrame(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// endless reads b again and again.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

func BenchmarkSign(b *testing.B) {
	r := openRecord("hello", string(make([]byte, 100))).Record
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Sign(r, alice); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := openRecord("hello", string(make([]byte, 100)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Verify(noon.Add(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyAlone(b *testing.B) { // what Ed25519 itself costs
	s := openRecord("hello", string(make([]byte, 100)))
	buf := append([]byte(recordDomain), s.Payload...)
	for b.Loop() {
		if !ed25519.Verify(s.Record.Publisher[:], buf, s.Signature[:]) {
			b.Fatal("wrong")
		}
	}
}

func BenchmarkPeerIDString(b *testing.B) {
	id := idOf(alice)
	b.ReportAllocs()
	for b.Loop() {
		_ = id.String()
	}
}
