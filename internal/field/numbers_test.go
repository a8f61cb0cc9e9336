package field

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A numbering is a conversation of two peers in which one says 1, 2, 3 …, every
// numberEvery, and the other returns each number. It outlives a stream, as a chat's
// conversation does: when a stream breaks, the caller opens another, and both send their
// progress:
//
//	caller: conversation ‖ the last number that came back
//	callee: the last number that came
//
// and go on from there. All are 8 bytes, big-endian.
const (
	numbersProtocol = "/field/numbers/1"
	numberEvery     = 20 * time.Millisecond
)

// A tally is the progress of one side of a numbering.
type tally struct {
	Came  uint64        // numbers, in order and each once
	Wrong []string      // numbers out of order
	Gap   time.Duration // the longest between two
	At    time.Time     // when that began
	Dials int           // streams used; of the caller
	Errs  []string      // why they broke
	Path  string        // the path now; of the caller
	last  time.Time
}

func (t *tally) note(n uint64, now time.Time) {
	if n != t.Came+1 && len(t.Wrong) < 10 {
		t.Wrong = append(t.Wrong, fmt.Sprintf("%d after %d", n, t.Came))
	}
	t.Came = n
	if gap := now.Sub(t.last); !t.last.IsZero() && gap > t.Gap {
		t.Gap, t.At = gap, t.last
	}
	t.last = now
}

// numberings holds the numberings of a node, of either side, by conversation. The zero value
// is empty; goroutines may share it.
type numberings struct {
	mu     sync.Mutex
	of     map[uint64]*tally
	cancel map[uint64]context.CancelFunc
	ended  map[uint64]chan struct{}
}

// with calls f with the tally of a conversation.
func (ns *numberings) with(conversation uint64, f func(*tally)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.of == nil {
		ns.of, ns.cancel, ns.ended = make(map[uint64]*tally), make(map[uint64]context.CancelFunc), make(map[uint64]chan struct{})
	}
	if ns.of[conversation] == nil {
		ns.of[conversation] = new(tally)
	}
	f(ns.of[conversation])
}

// answer runs the callee's side of a stream.
func (ns *numberings) answer(c net.Conn) {
	defer c.Close()
	var hello [16]byte
	if _, err := io.ReadFull(c, hello[:]); err != nil {
		return
	}
	conversation, back := binary.BigEndian.Uint64(hello[:]), binary.BigEndian.Uint64(hello[8:])
	var came uint64
	ns.with(conversation, func(t *tally) { came = t.Came })
	if writeNumber(c, came) != nil {
		return
	}
	for back < came { // the replies that were lost
		back++
		if writeNumber(c, back) != nil {
			return
		}
	}
	for {
		n, err := readNumber(c)
		if err != nil {
			return
		}
		ns.with(conversation, func(t *tally) { t.note(n, time.Now()) })
		if writeNumber(c, n) != nil {
			return
		}
	}
}

func readNumber(c net.Conn) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(c, b[:])
	return binary.BigEndian.Uint64(b[:]), err
}

func writeNumber(c net.Conn, n uint64) error {
	_, err := c.Write(binary.BigEndian.AppendUint64(nil, n))
	return err
}

// number begins a conversation with a peer, and returns its number.
func (p *program) number(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	conversation, ended := rand.Uint64(), make(chan struct{})
	p.numbers.with(conversation, func(*tally) {
		p.numbers.cancel[conversation], p.numbers.ended[conversation] = cancel, ended
	})
	go func() {
		defer close(ended)
		start := time.Now()
		for ctx.Err() == nil {
			err := p.numberOn(ctx, id, conversation, start)
			if ctx.Err() != nil {
				return
			}
			p.numbers.with(conversation, func(t *tally) {
				if len(t.Errs) < 10 {
					t.Errs = append(t.Errs, err.Error())
				}
			})
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return conversation, nil
}

// numberOn runs the caller's side of a stream. The number n is due at start + n *
// numberEvery, also after streams broke.
func (p *program) numberOn(ctx context.Context, id wire.PeerID, conversation uint64, start time.Time) error {
	c, err := p.node.Dial(ctx, id, numbersProtocol)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	var back uint64
	p.numbers.with(conversation, func(t *tally) { back = t.Came; t.Dials++ })
	hello := binary.BigEndian.AppendUint64(nil, conversation)
	if _, err := c.Write(binary.BigEndian.AppendUint64(hello, back)); err != nil {
		return err
	}
	n, err := readNumber(c)
	if err != nil {
		return err
	}
	reading := make(chan error, 1)
	go func() {
		for {
			got, err := readNumber(c)
			if err != nil {
				reading <- err
				return
			}
			p.numbers.with(conversation, func(t *tally) { t.note(got, time.Now()); t.Path = pathOf(c) })
		}
	}()
	for {
		select {
		case <-time.After(time.Until(start.Add(time.Duration(n+1) * numberEvery))):
			n++
			if err := writeNumber(c, n); err != nil {
				c.SetDeadline(time.Unix(1, 0))
				return errors.Join(err, <-reading)
			}
		case err := <-reading:
			return err
		}
	}
}

// report returns the tally of one side of a conversation.
func (p *program) report(_ context.Context, o order) (any, error) {
	var got tally
	p.numbers.with(o.Of, func(t *tally) { got = *t })
	return got, nil
}

// gap returns the longest gap of a conversation since the last call of gap.
func (p *program) gap(_ context.Context, o order) (any, error) {
	var gap time.Duration
	p.numbers.with(o.Of, func(t *tally) { gap, t.Gap = t.Gap, 0 })
	return gap, nil
}

// enough ends a conversation that this node began, and returns its tally.
func (p *program) enough(ctx context.Context, o order) (any, error) {
	var ended chan struct{}
	p.numbers.with(o.Of, func(*tally) {
		p.numbers.cancel[o.Of]()
		ended = p.numbers.ended[o.Of]
	})
	<-ended
	return p.report(ctx, o)
}
