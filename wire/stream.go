package wire

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// ProtocolDrain is the protocol of the streams by which a node that closes a connection
// finds out that the peer's applications have read all other streams: SPEC §7, Draining.
const ProtocolDrain = "/kadquic/drain/1"

// ErrStreamHeader is the error for a stream that does not begin with a valid
// header.
var ErrStreamHeader = errors.New("wire: malformed stream header")

// maxStreamHeader bounds the header's frame: the name and what later versions
// may add. Two bytes hold its length.
const maxStreamHeader = 1 << 10

// CheckProtocol reports what is wrong with the name of an application's
// protocol: it has 1 to MaxProtocol printable ASCII characters and no space,
// such as /app/chat/1.0.0.
func CheckProtocol(name string) error {
	switch {
	case name == "":
		return errors.New("protocol without a name")
	case len(name) > MaxProtocol:
		return fmt.Errorf("protocol name of %d bytes, over %d", len(name), MaxProtocol)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("protocol name %q has a character that is not printable ASCII", name)
		}
	}
	return nil
}

// AppendStreamHeader appends the first frame of an application's stream, its
// length included. CheckProtocol says whether the other side will take it.
func AppendStreamHeader(dst []byte, protocol string) []byte {
	dst = protowire.AppendVarint(dst, uint64(sizeBytes(len(protocol))))
	return appendBytes(dst, 1, protocol)
}

// ReadStreamHeader reads the first frame of an application's stream and not one
// byte more, and returns the protocol it names, which CheckProtocol approves.
// The error wraps ErrStreamHeader or is the stream's.
func ReadStreamHeader(r io.Reader) (string, error) {
	var buf [maxStreamHeader]byte
	n := 0
	for {
		if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
			return "", headerError(err)
		}
		if n++; buf[n-1] < 0x80 {
			break
		}
		if n == 2 {
			return "", fmt.Errorf("%w: too long", ErrStreamHeader)
		}
	}
	size, _ := protowire.ConsumeVarint(buf[:n])
	if size > maxStreamHeader || n != protowire.SizeVarint(size) {
		return "", fmt.Errorf("%w: bad length", ErrStreamHeader)
	}
	b := buf[:size]
	if _, err := io.ReadFull(r, b); err != nil {
		return "", headerError(err)
	}
	name := ""
	c := scan(b)
	for c.next() {
		if c.is(1, bytesType) {
			name = string(c.data())
		}
	}
	if c.bad {
		return "", fmt.Errorf("%w: not protobuf", ErrStreamHeader)
	}
	if err := CheckProtocol(name); err != nil {
		return "", fmt.Errorf("%w: %v", ErrStreamHeader, err)
	}
	return name, nil
}

// headerError tells a stream that ended early from one that failed.
func headerError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", ErrStreamHeader, io.ErrUnexpectedEOF)
	}
	return err
}
