package field

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A stream of this protocol discards the bytes it receives, and returns their number at its
// end.
const bulkProtocol = "/field/bulk/1"

func takeBulk(c net.Conn) {
	defer c.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 128<<10))
	if err == nil {
		c.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
}

// A haul is the duration of a bulk transfer.
type haul struct {
	Took time.Duration
	Path string
}

// bulk sends bytes to a peer.
func (p *program) bulk(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	c, err := p.node.Dial(ctx, id, bulkProtocol)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	start := time.Now()
	if err := sendBulk(c, o.Bytes); err != nil {
		return nil, err
	}
	return haul{time.Since(start), pathOf(c)}, nil
}

// sendBulk is the sender's side of a stream.
func sendBulk(c io.ReadWriter, bytes int64) error {
	block := make([]byte, 128<<10)
	for left := bytes; left > 0; {
		n, err := c.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	var b [8]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(b[:]); got != uint64(bytes) {
		return fmt.Errorf("%d bytes came, of %d", got, bytes)
	}
	return nil
}
