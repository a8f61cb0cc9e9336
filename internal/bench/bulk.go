package bench

import (
	"context"
	"io"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// Bulk is the cost of one gibibyte one way on one stream.
type Bulk struct {
	Throughput float64 `json:"mb_per_s"` // of 10⁶ bytes
	BulkCPU    float64 `json:"cpu_s_per_gib"`
}

func bulk(size int64, cost spent) Bulk {
	return Bulk{
		Throughput: ratio(float64(size)/1e6, cost.wall.Seconds()),
		BulkCPU:    ratio(cost.cpu.Seconds(), float64(size)/(1<<30)),
	}
}

const chunkSize = 128 << 10 // of a Write or Read of a bulk transfer

// drain returns a handler that discards the bytes it receives, and confirms every part bytes
// with one byte.
func drain(part int64) handler {
	return func(str io.ReadWriteCloser) {
		defer str.Close()
		buf := make([]byte, chunkSize)
		for left := part; ; {
			n, err := str.Read(buf[:min(left, chunkSize)])
			if left -= int64(n); left == 0 {
				if _, err := str.Write([]byte{1}); err != nil {
					return
				}
				left = part
			}
			if err != nil {
				return
			}
		}
	}
}

// pour writes one part to a stream that is being drained and waits until it
// has all been read.
func pour(str io.ReadWriter, part int64) (spent, error) {
	chunk := make([]byte, chunkSize)
	meter := start()
	for left := part; left > 0; {
		n, err := str.Write(chunk[:min(left, chunkSize)])
		if err != nil {
			return spent{}, err
		}
		left -= int64(n)
	}
	_, err := io.ReadFull(str, chunk[:1])
	return meter.stop(), err
}

// rawBulk measures one bulk transfer between two raw peers.
func rawBulk(ctx context.Context, size int64) (spent, error) {
	p, err := newPair(drain(size))
	if err != nil {
		return spent{}, err
	}
	defer p.close()
	str, err := p.open(ctx)
	if err != nil {
		return spent{}, err
	}
	stop := context.AfterFunc(ctx, func() { str.SetDeadline(time.Now()) })
	defer stop()
	return pour(str, size)
}

// open opens a stream on a fresh connection.
func (p *pair) open(ctx context.Context) (*quicgo.Stream, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn.OpenStreamSync(ctx)
}
