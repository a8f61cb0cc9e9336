package quic

import (
	"bytes"
	"context"
	"errors"
	"sync"
)

const (
	// maxDatagram fits a packet of InitialPacketSize whatever the length of the
	// peer's connection IDs: 1 byte of flags, 20 of ID, 4 of number, 3 of the frame's
	// head, 16 of seal (RFC 9000 §17.3.1, RFC 9221 §4).
	maxDatagram = InitialPacketSize - 1 - 20 - 4 - 3 - 16

	// maxOutbox are kept beside the 32 that quic-go does.
	maxOutbox = 64
)

// An outbox keeps datagrams that quic-go has no room for: its SendDatagram waits,
// ours must not. A goroutine hands them over, as long as there are some. The zero
// value is empty.
type outbox struct {
	mu      sync.Mutex // a leaf
	queue   [][]byte
	running bool
	closed  bool
}

// SendDatagram sends up to MaxDatagram bytes that may be lost (RFC 9221). It never
// blocks, and copies b. It is false if b was dropped at once: it is too large, the
// peer takes none, the connection has ended, or too many wait. A datagram goes
// before what waits on streams, and is subject to congestion control as they are.
func (c *Conn) SendDatagram(b []byte) bool {
	if !c.datagrams || len(b) > maxDatagram || !c.alive() {
		return false
	}
	o := &c.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.queue) >= maxOutbox {
		return false
	}
	o.queue = append(o.queue, bytes.Clone(b))
	if !o.running {
		o.running = true
		c.t.wg.Go(c.post) // the connection is counted, as o is open
	}
	return true
}

// post empties the outbox.
func (c *Conn) post() {
	var batch [][]byte
	for {
		if batch = c.outbox.take(batch); batch == nil {
			return
		}
		for _, b := range batch {
			if c.q.SendDatagram(b) != nil && !c.alive() {
				break // the box is closed, or about to be
			}
		}
	}
}

// take returns the queued datagrams, or nil if there are none: then another
// goroutine may become the sender. It reuses the last batch's memory for the next.
func (o *outbox) take(last [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.running = false
		return nil
	}
	batch := o.queue
	clear(last)
	o.queue = last[:0]
	return batch
}

// close drops what waits, and all that comes.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.queue = true, nil
}

var errNoDatagrams = errors.New("quic: a virtual connection has no datagrams")

// ReceiveDatagram waits for a datagram. 128 wait to be received, further ones are
// lost: only connections of which datagrams are expected need to be asked.
func (c *Conn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	if c.route != nil {
		return nil, errNoDatagrams
	}
	b, err := c.q.ReceiveDatagram(ctx)
	if err != nil {
		return nil, typed(err)
	}
	return b, nil
}

// MaxDatagram is how many bytes fit one datagram; 0: the peer takes none, or the
// connection is virtual.
func (c *Conn) MaxDatagram() int {
	if !c.datagrams {
		return 0
	}
	return maxDatagram
}
