package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	protocol   = "/kadquic/chat/2"
	maxText    = 2 << 10          // bytes of a message
	maxQueued  = 256              // messages kept for one peer
	maxBatch   = 4                // of them in one frame
	maxFrame   = 64 << 10         // bytes; JSON may need six for one
	maxPeers   = 64               // of a room
	maxStreams = 64               // that others have opened
	beat       = 4 * time.Second  // so often a peer is asked whether it is there
	patience   = 10 * time.Second // for an answer, and for the last messages to arrive
)

// A frame is a line of JSON; omitted fields are zero. A stream carries one frame and its answer,
// because streams cost almost nothing.
type frame struct {
	Life uint64      // the sender's half of the conversation, drawn when its program starts
	Name string      `json:",omitempty"` // what the sender calls itself
	Room routing.Key // that it is in; of two, the one without a name
	N    uint64      `json:",omitempty"` // number of the first of the messages said; they count from 1
	Said []string    `json:",omitempty"`
	Got  uint64      `json:",omitempty"` // in an answer: the messages up to this one are here
	Bye  string      `json:",omitempty"` // the end, and why

	File    *transfer.Ask   `json:",omitempty"` // about a file, in a request
	Decided uint64          `json:",omitempty"` // the ID of an offer that has been decided
	There   transfer.Answer `json:",omitzero"`  // in an answer about a file
}

// A talk is one end of a conversation, which outlives the connections under it. Messages are
// numbered, and kept and sent again until the other end acknowledges them. So none is lost,
// and none is shown twice.
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

// last is the number of our last message; 0: there is none yet.
func (t *talk) last() uint64 { return t.told + uint64(len(t.queue)) }

// acked drops the messages up to number got, and reports whether there were any.
func (t *talk) acked(got uint64) bool {
	n := got - t.told
	if got <= t.told || n > uint64(len(t.queue)) {
		return false
	}
	t.queue, t.told = t.queue[n:], got
	return true
}

// meet notes the Life of the other end. With another Life, its messages count from 1.
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

// keep sends a peer the messages that it does not have, and a regular sign of life, until one
// of the two leaves. Both ends do so: either may be the only one that can reach the other.
func (c *chat) keep(p *peer) {
	defer c.update(func() { p.inbox.Cancel(context.Cause(p.ctx)) })
	var next redial
	for p.ctx.Err() == nil {
		rest, cancel := context.WithTimeout(p.ctx, next.least)
		c.await(rest, func() bool { return false })
		cancel()
		soon, cancel := context.WithTimeout(p.ctx, next.most-next.least)
		ask, last := c.hello, uint64(0)
		c.await(soon, func() bool {
			last = p.last()
			ask.N, ask.Said = p.told+1, p.queue[:min(len(p.queue), maxBatch)]
			if c.leaving && len(ask.Said) == 0 {
				ask.Bye = "left"
			}
			ask.Decided = p.inbox.Decided()
			return p.here && (len(ask.Said) > 0 || c.leaving || p.news) || next.mayCall(p)
		})
		cancel()
		next.said = last
		answer, err := c.ask(p.ctx, p.id, ask, nil)
		c.update(func() {
			switch {
			case p.ctx.Err() != nil: // it has left
			case err == nil && (p.acked(answer.Got) || len(ask.Said) == 0):
				next.answered()
				p.news = false
				c.met(p, answer)
				if len(ask.Said) > 0 && c.behind() == 0 {
					c.print("  ✓")
				} else if ask.Bye != "" {
					c.drop(p)
				}
			case p.theirs == 0 && p.id != c.called.ID:
				c.drop(p) // of a room, and never met: until found again
			default:
				next.failed(p.here)
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
		err = refusal(answer.Bye)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		c.node.ClosePeer(to) // the next stream is to be on a connection that lives
	}
	return answer, err
}

// A refusal is the text of a peer that refuses a request.
type refusal string

func (r refusal) Error() string { return "they say: " + wire.Printable(string(r)) }

// answer handles the streams that others open.
func (c *chat) answer(s *node.Stream) {
	from := s.Peer()
	s.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReaderSize(s, maxFrame)
	ask, err := receive(in)
	if err != nil {
		return
	}
	var answer frame
	var p *peer
	c.update(func() { answer, p = c.heard(from, ask), c.peers[from] })
	if answer.Life != 0 && ask.File != nil && p != nil {
		if answer.There, err = c.take(p, ask.File, s, in); err != nil {
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
