package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/libp2p/go-msgio"
)

// script writes all samples one behind the other.
func script(t *testing.T) (stream []byte, frames []Frame) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, f := range samples() {
		if err := w.WriteFrame(f); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	return buf.Bytes(), frames
}

func TestReaderReadsWhatWriterWrites(t *testing.T) {
	stream, frames := script(t)
	var appended []byte
	for _, f := range frames {
		appended = AppendPrefixed(appended, f)
	}
	if !bytes.Equal(stream, appended) {
		t.Error("AppendPrefixed differs from go-msgio")
	}
	for name, in := range map[string]io.Reader{
		"whole":         bytes.NewReader(stream),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":        iotest.HalfReader(bytes.NewReader(stream)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		r := NewReader(in, 0)
		for i, want := range frames {
			if got, err := r.ReadFrame(); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: frame %d: got %+v, %v\nwant %+v", name, i, got, err, want)
			}
		}
		if f, err := r.ReadFrame(); err != io.EOF {
			t.Errorf("%s: at the end: got %+v, %v, want EOF", name, f, err)
		}
	}
}

// Others' readers of the format read ours.
func TestMsgioReads(t *testing.T) {
	stream, frames := script(t)
	r := msgio.NewVarintReaderSize(bytes.NewReader(stream), MaxFrame)
	for _, want := range frames {
		b, err := r.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseFrame(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
}

// A bad message costs itself only; the frames behind it are read.
func TestReaderGoesOnAfterInvalid(t *testing.T) {
	stream := append([]byte{4, 0x08, 0x05, 0x32, 0x00}, AppendPrefixed(nil, Frame{ID: 6, Body: Ping{}})...)
	r := NewReader(bytes.NewReader(stream), 0)
	var invalid *InvalidError
	if f, err := r.ReadFrame(); !errors.As(err, &invalid) || f.ID != 5 || !f.IsRequest() || invalid.Error() != "invalid FIND_NODE: no key of 32 bytes" {
		t.Fatalf("got %+v, %v", f, err)
	}
	if f, err := r.ReadFrame(); err != nil || f != (Frame{ID: 6, Body: Ping{}}) {
		t.Fatalf("got %+v, %v", f, err)
	}
}

func TestReaderErrors(t *testing.T) {
	whole := AppendPrefixed(nil, Frame{ID: 1, Body: FindNode{}})
	for _, c := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0x80}, io.ErrUnexpectedEOF},
		{"half a frame", whole[:9], io.ErrUnexpectedEOF},
		{"length only", whole[:1], io.ErrUnexpectedEOF},
		{"empty frame", []byte{0}, ErrMalformed},
		{"64 KiB and one", []byte{0x81, 0x80, 0x04}, ErrTooLarge},
		{"gigabytes", []byte{0xff, 0xff, 0xff, 0x7f}, ErrTooLarge},
		{"exabytes", bytes.Repeat([]byte{0xff}, 10), ErrMalformed},
		{"longer than need be", append([]byte{whole[0] | 0x80, 0}, whole[1:]...), ErrMalformed},
		{"a web browser", []byte("\xc7\xc7\xc7\xc7 HTTP"), ErrMalformed},
	} {
		r := NewReader(iotest.OneByteReader(bytes.NewReader(c.stream)), 0)
		if f, err := r.ReadFrame(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v, want %v", c.name, f, err, c.want)
		}
	}
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), 0)
	if _, err := r.ReadFrame(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := r.ReadFrame(); err != broken {
			t.Errorf("got %v, want the stream's error", err)
		}
	}
	r = NewReader(idleReader{}, 0)
	if _, err := r.ReadMessage(); err != io.ErrNoProgress {
		t.Errorf("a stream that gives nothing: %v", err)
	}
}

type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

// readFunc is a Reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// An announced length costs nothing until its bytes come, and a buffer that has
// grown goes back.
func TestReaderBuffer(t *testing.T) {
	stream := append([]byte{0x80, 0x80, 0x04}, make([]byte, MaxFrame)...) // 64 KiB
	stream = append(stream, 1, 'x')
	sent := 0
	var r *Reader
	r = NewReader(readFunc(func(b []byte) (int, error) {
		if len(r.buf) > max(readBuffer, 2*sent) {
			t.Errorf("buffer of %d bytes after %d", len(r.buf), sent)
		}
		n := copy(b[:min(len(b), 1000)], stream[sent:])
		if sent < MaxFrame+3 {
			n = min(n, MaxFrame+3-sent) // what follows the frame comes later
		}
		sent += n
		return n, nil
	}), 0)
	if b, err := r.ReadMessage(); err != nil || len(b) != MaxFrame || len(r.buf) < MaxFrame {
		t.Fatalf("got %d bytes, %v", len(b), err)
	}
	if b, err := r.ReadMessage(); err != nil || string(b) != "x" || len(r.buf) != readBuffer {
		t.Errorf("got %q, %v, with a buffer of %d bytes, want %d", b, err, len(r.buf), readBuffer)
	}
}

// counter counts Reads.
type counter struct {
	io.Reader
	n int
}

func (c *counter) Read(b []byte) (int, error) { c.n++; return c.Reader.Read(b) }

func TestReaderReadsSeldom(t *testing.T) {
	var stream []byte
	for i := range 50 {
		stream = AppendPrefixed(stream, Frame{ID: uint64(i + 1), Body: FindNode{}})
	}
	c := &counter{Reader: bytes.NewReader(stream)}
	r := NewReader(c, 0)
	for range 50 {
		if _, err := r.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	if c.n > 2 {
		t.Errorf("%d reads for %d bytes", c.n, len(stream))
	}
}

func TestWriterRefusesLarge(t *testing.T) {
	big := openRecord("big", string(make([]byte, MaxValue)))
	var buf bytes.Buffer
	w := NewWriter(&buf)
	if err := w.WriteFrame(Frame{ID: 1, Body: Store{Records: repeat(big, 8)}}); !errors.Is(err, ErrTooLarge) || buf.Len() > 0 {
		t.Errorf("got %v and %d bytes", err, buf.Len())
	}
	if err := w.WriteFrame(Frame{ID: 1, Body: Store{Records: repeat(big, 7)}}); err != nil {
		t.Error(err)
	}
}

func TestStreamHeader(t *testing.T) {
	header := AppendStreamHeader(nil, "/app/chat/1.0.0")
	if got, want := string(header), "\x11\x0a\x0f/app/chat/1.0.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	in := strings.NewReader(string(header) + "hi")
	if name, err := ReadStreamHeader(in); err != nil || name != "/app/chat/1.0.0" {
		t.Errorf("got %q, %v", name, err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "hi" {
		t.Errorf("the application gets %q, want hi", rest)
	}
	long := strings.Repeat("a", MaxProtocol)
	if name, err := ReadStreamHeader(bytes.NewReader(AppendStreamHeader(nil, long))); err != nil || name != long {
		t.Errorf("longest: got %q, %v", name, err)
	}

	for name, b := range map[string]string{
		"nothing":       "",
		"cut short":     string(header[:5]),
		"no name":       "\x00",
		"too long":      string(AppendStreamHeader(nil, long+"a")),
		"space":         string(AppendStreamHeader(nil, "/app chat")),
		"newline":       string(AppendStreamHeader(nil, "/app\n")),
		"not ASCII":     string(AppendStreamHeader(nil, "/ä")),
		"length":        "\x80\x80\x01",
		"huge":          "\xff\x7f",
		"not minimal":   "\x91\x00" + string(header[1:]),
		"not protobuf":  "\x02\xff\xff",
		"other field":   "\x02\x10\x01",
		"wrong type":    "\x02\x08\x01",
		"length beyond": "\x03\x0a\x05a",
	} {
		if got, err := ReadStreamHeader(strings.NewReader(b)); !errors.Is(err, ErrStreamHeader) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	broken := errors.New("broken")
	if _, err := ReadStreamHeader(iotest.ErrReader(broken)); err != broken {
		t.Errorf("got %v, want the stream's error", err)
	}
}
