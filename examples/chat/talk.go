package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	protocol   = "/kadquic/chat/1"
	maxText    = 2 << 10          // bytes of a message
	maxQueued  = 256              // messages kept for one peer
	maxBatch   = 4                // of them in one frame
	maxFrame   = 64 << 10         // bytes; JSON may need six for one
	maxPeers   = 64               // of a room
	maxStreams = 64               // that others have opened
	beat       = 4 * time.Second  // so often a peer is asked whether it is there
	patience   = 10 * time.Second // with who does not answer, and for the last words to arrive
	maxRedial  = 30 * time.Second // between attempts to reach who is away
)

// A frame is a line of JSON; what it leaves out is zero. A stream carries one, and
// another that answers it: streams cost next to nothing.
type frame struct {
	Life  uint64      // the sender's half of the conversation, drawn when its program starts
	Name  string      `json:",omitempty"` // what the sender calls itself
	Room  routing.Key // that it is in; of two, the one without a name
	N     uint64      `json:",omitempty"` // number of the first of the messages said; they count from 1
	Said  []string    `json:",omitempty"`
	Got   uint64      `json:",omitempty"` // in an answer: the messages up to this one are here
	Bye   string      `json:",omitempty"` // the end, and why
	File  string      `json:",omitempty"` // offers a file, of
	Size  int64       `json:",omitempty"` // bytes, with this
	Sum   []byte      `json:",omitempty"` // SHA-256, of which follow
	Have  int64       `json:",omitempty"` // those from this one on; in an answer: so many are here
	Offer uint64      `json:",omitempty"` // drawn for each
}

// A talk is one end of a conversation, whatever becomes of the connections under
// it. Messages are numbered, and kept until the other end answers that it has them;
// until then they are told again. So none is lost, and none is shown twice.
type talk struct {
	queue  []string // our messages that are kept
	told   uint64   // number of the last that is not, for the other end has it
	theirs uint64   // Life of the other end; 0 before it was first met
	got    uint64   // number of its last message that is here
}

// say queues a message.
func (t *talk) say(text string) error {
	if len(text) > maxText || len(t.queue) == maxQueued {
		return fmt.Errorf("it is longer than %d bytes, or %d messages wait already", maxText, maxQueued)
	}
	t.queue = append(t.queue, text)
	return nil
}

// acked drops the messages up to number got, and reports whether there were any.
func (t *talk) acked(got uint64) bool {
	n := got - t.told
	if got <= t.told || n > uint64(len(t.queue)) {
		return false
	}
	t.queue, t.told = t.queue[n:], got
	return true
}

// meet notes who is at the other end. Another Life counts from 1.
func (t *talk) meet(life uint64) {
	if life != t.theirs {
		t.theirs, t.got = life, 0
	}
}

// take reports whether message n is new.
func (t *talk) take(n uint64, text string) bool {
	if n <= t.got || len(text) > maxText {
		return false
	}
	t.got = n
	return true
}

// keep tells a peer what it does not have, until it has it, and now and then that we
// are here, until one of us leaves. Whoever can reach the other does.
func (c *chat) keep(p *peer) {
	defer c.update(func() { p.inbox.Cancel(context.Cause(p.ctx)) })
	for wait := time.Duration(0); p.ctx.Err() == nil; {
		soon, cancel := context.WithTimeout(p.ctx, wait)
		ask := c.hello
		c.await(soon, func() bool {
			ask.N, ask.Said = p.told+1, p.queue[:min(len(p.queue), maxBatch)]
			if c.leaving && len(ask.Said) == 0 {
				ask.Bye = "left"
			}
			return p.here && (len(ask.Said) > 0 || c.leaving)
		})
		cancel()
		answer, err := c.ask(p.ctx, p.id, ask, nil)
		c.update(func() {
			switch {
			case p.ctx.Err() != nil: // it has left
			case err == nil && (p.acked(answer.Got) || len(ask.Said) == 0):
				wait = beat
				c.met(p, answer)
				if len(ask.Said) > 0 && c.behind() == 0 {
					c.print("  ✓")
				} else if ask.Bye != "" {
					c.drop(p)
				}
			case p.theirs == 0 && p.id != c.called.ID:
				c.drop(p) // of a room, and never met: until found again
			default:
				if wait = max(time.Second, min(2*wait, maxRedial)); p.here {
					wait = time.Second
				}
				c.lost(p, cmp.Or(err, errors.New("they do not take it")))
			}
		})
	}
}

// ask sends a peer a frame and what follows it, and returns the answer. One that
// refuses is an error.
func (c *chat) ask(ctx context.Context, to wire.PeerID, f frame, follow func(net.Conn) error) (answer frame, err error) {
	s, err := c.node.Dial(ctx, to, protocol) // by its ID: the node finds out where it is
	if err != nil {
		return answer, err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(patience))
	defer context.AfterFunc(ctx, func() { s.SetDeadline(time.Now()) })()
	sent := json.NewEncoder(s).Encode(f)
	if sent == nil && follow != nil {
		if sent = follow(s); errors.Is(sent, transfer.ErrShort) {
			return answer, sent
		}
	}
	if answer, err = receive(bufio.NewReaderSize(s, maxFrame)); err != nil {
		err = cmp.Or(sent, err)
	} else if answer.Life == 0 {
		err = errors.New("they say: " + wire.Printable(answer.Bye))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		c.node.Disconnect(to) // the next stream is to be on a connection that lives
	}
	return answer, err
}

// answer handles the streams that others open.
func (c *chat) answer(from wire.PeerID, s net.Conn) {
	s.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReaderSize(s, maxFrame)
	ask, err := receive(in)
	if err != nil {
		return
	}
	var answer frame
	var p *peer
	c.update(func() { answer, p = c.heard(from, ask), c.peers[from] })
	if answer.Life != 0 && ask.File != "" && p != nil {
		if answer.Have, err = c.take(p, ask, s, in); err != nil {
			answer = frame{Bye: err.Error()}
			c.update(func() { c.print("* %s from %s: %v", ask.File, p.name, err) })
		}
	}
	json.NewEncoder(s).Encode(answer)
}

// receive reads a line of JSON that fits the buffer.
func receive(in *bufio.Reader) (f frame, err error) {
	line, err := in.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &f)
	}
	return f, err
}

// send sends a file to a peer. When the connection breaks, the rest goes over the next.
// In update.
func (c *chat) send(p *peer, path string) {
	ctx := p.wanted
	c.sending++
	c.work.Go(func() {
		p.turn.Lock() // one after another
		err := c.sendFile(ctx, p, path)
		p.turn.Unlock()
		c.update(func() {
			c.sending--
			c.print("* %s to %s: %v", path, p.name, cmp.Or(err, errors.New("it is there")))
		})
	})
}

func (c *chat) sendFile(ctx context.Context, p *peer, path string) error {
	f, err := transfer.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	offer := c.hello
	offer.File, offer.Size, offer.Sum, offer.Offer = f.Base, f.Size, f.Sum, rand.Uint64()
	for c.await(ctx, func() bool { return p.here }) == nil {
		answer, err := c.ask(ctx, p.id, offer, func(s net.Conn) error {
			return c.move(ctx, p, s, s, io.NewSectionReader(f, offer.Have, f.Size), offer)
		})
		switch {
		case err == nil && answer.Have == f.Size || answer.Bye != "" || errors.Is(err, transfer.ErrShort):
			return err
		case err == nil:
			offer.Have = answer.Have // so much had come before
		case ctx.Err() == nil:
			c.update(func() { c.lost(p, err) })
		}
	}
	return context.Cause(ctx)
}

// take takes what follows an offer, and returns how much of the file is here.
func (c *chat) take(p *peer, offer frame, s net.Conn, in io.Reader) (have int64, err error) {
	var part *transfer.Part
	c.update(func() {
		if err = p.ctx.Err(); err == nil {
			part, err = p.inbox.Part(c.downloads, offer.Offer, offer.File, offer.Size, offer.Sum)
		}
	})
	if err == nil {
		if errors.Is(c.move(p.ctx, p, s, io.NewOffsetWriter(part, offer.Have), in, offer), transfer.ErrShort) {
			part.Cancel(errors.New("they gave it up"))
		}
		have, err = part.Have()
	}
	s.SetDeadline(time.Now().Add(patience))
	return have, err
}

// move copies what is left of a file to or from a stream.
func (c *chat) move(ctx context.Context, p *peer, s net.Conn, dst io.Writer, src io.Reader, f frame) error {
	return transfer.Copy(ctx, s, dst, src, f.Size-f.Have, func(n int64, speed float64) {
		c.update(func() { c.print("* %s, %s: %d of %d bytes, %.1f MB/s", f.File, p.name, f.Have+n, f.Size, speed/1e6) })
	})
}
