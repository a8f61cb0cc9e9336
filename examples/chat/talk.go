package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	protocol   = "/kadquic/chat/1"
	maxName    = 24               // bytes
	maxText    = 2 << 10          // bytes of a message
	maxQueued  = 256              // messages kept for one peer
	maxBatch   = 4                // of them in one frame
	maxFrame   = 64 << 10         // bytes; JSON may need six for one
	maxFile    = 4 << 30          // bytes
	maxPeers   = 64               // of a room
	maxStreams = 64               // that others have opened
	beat       = 4 * time.Second  // so often a peer is asked whether it is there
	patience   = 10 * time.Second // with who does not answer, and for the last words to arrive
	maxRedial  = 30 * time.Second // between attempts to reach who is away
	stalled    = time.Minute      // a file of which nothing moves is given up
)

// A frame is a line of JSON; what it leaves out is zero. A stream carries one, and
// another that answers it: streams cost next to nothing.
type frame struct {
	Life uint64      // the sender's half of the conversation, drawn when its program starts
	Name string      `json:",omitempty"` // what the sender calls itself
	Room routing.Key // that it is in; of two, the one without a name
	N    uint64      `json:",omitempty"` // number of the first of the messages said; they count from 1
	Said []string    `json:",omitempty"`
	Got  uint64      `json:",omitempty"` // in an answer: the messages up to this one are here
	Bye  string      `json:",omitempty"` // the end, and why
	File string      `json:",omitempty"` // offers a file, of
	Size int64       `json:",omitempty"` // bytes, which follow the frame
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
		return errors.New("it is too long, or too many wait already")
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
				if len(ask.Said) > 0 {
					c.mark()
				} else if ask.Bye != "" {
					c.drop(p)
				}
			case p.theirs == 0 && p.id != c.called.ID:
				c.drop(p) // of a room, and never met: until found again
			default:
				if p.here || wait == 0 {
					c.print("* %s is away; what you say is kept for them: %v", p.name, err)
					p.here, p.path, wait = false, "away", 0
				}
				wait = max(time.Second, min(2*wait, maxRedial))
			}
		})
	}
}

// ask sends a peer a frame and what is in a file, if that offers one, and returns
// the answer. An answer that refuses is an error.
func (c *chat) ask(ctx context.Context, to wire.PeerID, f frame, file io.Reader) (answer frame, err error) {
	s, err := c.node.Dial(ctx, to, protocol) // by its ID: the node finds out where it is
	if err != nil {
		return answer, err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(patience))
	sent := cmp.Or(json.NewEncoder(s).Encode(f), c.move(s, file, s, f))
	in := bufio.NewReaderSize(s, maxFrame)
	if answer, err = receive(in); err != nil {
		err = cmp.Or(sent, err)
	} else if answer.Life == 0 {
		err = errors.New("they say: " + wire.Printable(answer.Bye))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
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
	c.update(func() { answer = c.heard(from, ask) })
	if answer.Life != 0 && ask.File != "" {
		if err := c.takeFile(in, s, ask); err != nil {
			answer = frame{Bye: err.Error()}
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

// offer sends a file to a peer, if that takes it. In update.
func (c *chat) offer(p *peer, path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		c.print("* %s is no file that can be sent", path)
		return
	}
	ask := c.hello
	ask.File, ask.Size = info.Name(), info.Size()
	c.files.Go(func() {
		f, err := os.Open(path)
		if err == nil {
			defer f.Close()
			_, err = c.ask(c.ctx, p.id, ask, f)
		}
		if err != nil {
			c.update(func() { c.print("* %s to %s: %v", ask.File, p.name, err) })
		}
	})
}

// takeFile stores a file that is offered: in the directory for that, from which
// os.Root lets no name escape, and never in place of another.
func (c *chat) takeFile(in io.Reader, s net.Conn, offer frame) error {
	name := offer.File
	if offer.Size < 0 || offer.Size > maxFile || filepath.Base(name) != name || name[0] == '.' || wire.Printable(name) != name {
		return errors.New("refused")
	}
	f, err := c.downloads.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = cmp.Or(c.move(f, in, s, offer), f.Close()); err != nil {
		c.downloads.Remove(name)
	}
	return err
}

// move copies a file to or from a stream, telling how far it is, and fails when
// nothing moves. What offers none has no bytes.
func (c *chat) move(dst io.Writer, src io.Reader, s net.Conn, f frame) (err error) {
	began, told := time.Now(), time.Now()
	for done, n := int64(0), int64(0); done < f.Size && err == nil; {
		s.SetDeadline(time.Now().Add(stalled))
		n, err = io.CopyN(dst, src, min(f.Size-done, 256<<10))
		if done += n; time.Since(told) > 2*time.Second || done == f.Size {
			told = time.Now()
			speed := float64(done) / 1e6 / time.Since(began).Seconds()
			c.update(func() { c.print("* %s: %d of %d bytes, %.1f MB/s", f.File, done, f.Size, speed) })
		}
	}
	return err
}
