package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	quicgo "github.com/quic-go/quic-go"
)

// The floor's exchange. A request is 40 bytes:
//
//	0      8       10     40
//	| slot | reply | zero |
//
// reply is the size of the answer, of which slot is the first 8 bytes.
const (
	slotEnd  = 8
	replyEnd = 10
)

func appendRequest(dst []byte, slot, reply int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(slot))
	dst = binary.BigEndian.AppendUint16(dst, uint16(reply))
	return append(dst, make([]byte, requestSize-replyEnd)...)
}

// answer serves exchanges on one stream. Requests that arrived together are
// answered together, in one Write.
func answer(str io.ReadWriteCloser) {
	defer str.Close()
	in, out := make([]byte, 0, 4096), make([]byte, 0, 2*replySize)
	for {
		n, err := str.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		rest := in
		for out = out[:0]; len(rest) >= requestSize; rest = rest[requestSize:] {
			reply := max(int(binary.BigEndian.Uint16(rest[slotEnd:])), slotEnd)
			out = append(out, rest[:slotEnd]...)
			out = append(out, make([]byte, reply-slotEnd)...)
		}
		in = in[:copy(in, rest)]
		if len(out) > 0 {
			if _, err := str.Write(out); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// mux is one stream that many callers share. The callers of all muxes with the same slots are
// numbered. A caller has at most one request in flight, so its number is the id of the request,
// and it waits on its own channel, which is made once.
type mux struct {
	slots []chan struct{}
	reply int

	mu  sync.Mutex // guards str's writing side and buf
	str *quicgo.Stream
	buf []byte

	done chan struct{} // closed when nothing more will be read
}

func newSlots(callers int) []chan struct{} {
	slots := make([]chan struct{}, callers)
	for i := range slots {
		slots[i] = make(chan struct{}, 1)
	}
	return slots
}

// newMux shares a fresh stream of conn. Replies have reply bytes.
func newMux(ctx context.Context, conn *quicgo.Conn, slots []chan struct{}, reply int) (*mux, error) {
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	m := &mux{slots: slots, reply: reply, str: str, done: make(chan struct{})}
	go m.read()
	return m, nil
}

// read hands every reply to its caller.
func (m *mux) read() {
	defer close(m.done)
	in := make([]byte, 0, 4*max(m.reply, 1024))
	for {
		n, err := m.str.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		rest := in
		for ; len(rest) >= m.reply; rest = rest[m.reply:] {
			slot := binary.BigEndian.Uint64(rest)
			if slot >= uint64(len(m.slots)) {
				return
			}
			m.slots[slot] <- struct{}{}
		}
		in = in[:copy(in, rest)]
		if err != nil {
			return
		}
	}
}

// call makes one exchange.
func (m *mux) call(ctx context.Context, slot int) error {
	m.mu.Lock()
	m.buf = appendRequest(m.buf[:0], slot, m.reply)
	_, err := m.str.Write(m.buf)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-m.slots[slot]:
		return nil
	case <-m.done:
		return errors.New("stream ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// callFresh makes one exchange on a new stream. buf is scratch space for the larger of the two
// sizes.
func callFresh(ctx context.Context, conn *quicgo.Conn, reply int, buf []byte) error {
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := str.Write(appendRequest(buf[:0], 0, reply)); err != nil {
		return err
	}
	if err := str.Close(); err != nil {
		return err
	}
	n, err := io.ReadFull(str, buf[:reply])
	if err != nil {
		return fmt.Errorf("reply cut at %d of %d bytes: %w", n, reply, err)
	}
	if _, err := str.Read(buf[:1]); err != io.EOF {
		return fmt.Errorf("after the reply: %v, want its end", err)
	}
	return nil
}
