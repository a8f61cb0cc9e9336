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
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

const (
	talkProtocol = "/kadquic/chat/1"
	maxStreams   = 128              // that others have opened
	maxFrame     = 32 << 10         // bytes; JSON may need six for one
	patience     = 10 * time.Second // with who does not say hello
	beat         = 4 * time.Second  // so often something is said, so that
	silence      = 10 * time.Second // where nothing comes for so long the connection is dead
	maxRedial    = 30 * time.Second // between attempts to find who is away
)

// A peer is somebody with whom we talk. chat.mu guards its fields.
type peer struct {
	talk
	id      wire.PeerID
	name    string
	path    string             // by which way we talk
	streams int                // on which we do: one, none, or for a moment two
	limit   *rate.Limiter      // of what it says
	ctx     context.Context    // as long as it is a peer of ours
	gone    context.CancelFunc // it is no more
}

// serve handles the streams of a protocol that others open.
func (c *chat) serve(protocol string, handle func(net.Conn) error) error {
	l, err := c.node.Listen(protocol)
	if err != nil {
		return err
	}
	c.work.Go(func() {
		slots := make(chan struct{}, maxStreams)
		for s, err := l.Accept(); err == nil; s, err = l.Accept() {
			slots <- struct{}{}
			c.work.Go(func() { handle(s); s.Close(); <-slots })
		}
	})
	return nil
}

// keep calls a peer whenever there is no stream to it. So does the other end, and
// whoever can reach the other does. If both do at once, that is no harm.
func (c *chat) keep(p *peer) {
	for wait := time.Second; c.await(p.ctx, func() bool { return p.streams == 0 }) == nil; wait = min(2*wait, maxRedial) {
		ctx, cancel := context.WithTimeout(p.ctx, maxRedial)
		s, err := c.node.Dial(ctx, p.id, talkProtocol) // by its ID: the node finds out where it is
		if err == nil {
			err = c.talkOver(s, true)
			s.Close()
		}
		cancel()
		c.update(func() {
			switch {
			case err == nil:
				wait = time.Second
			case p.theirs != 0 || p.ctx.Err() != nil: // it is away, or no more
			case p.id != c.called.id:
				c.drop(p) // of a room, and never met: until found again
			case wait == time.Second:
				c.print("* not reached yet, still trying: %s", plain(err.Error(), 300))
			}
		})
		sleep(p.ctx, wait)
	}
}

// talkOver talks over a stream until it ends. An error says why there was no talk.
func (c *chat) talkOver(s net.Conn, dialled bool) (err error) {
	id, _ := node.PeerOf(s) // TLS has proved it
	in := bufio.NewReaderSize(s, maxFrame)
	var p *peer
	var ours, theirs frame
	greet := func() error {
		ours = frame{Life: c.life, Name: c.name, Room: c.proof(c.node.ID(), id)}
		c.update(func() {
			if p := c.peers[id]; p != nil {
				ours.Of, ours.Got = p.theirs, p.got
			}
		})
		return send(s, ours)
	}
	s.SetDeadline(time.Now().Add(patience))
	if dialled {
		err = greet()
	}
	if err := cmp.Or(err, receive(in, &theirs)); err != nil {
		return err
	}
	if c.update(func() { p, err = c.admit(id, theirs, way(node.PathOf(s))) }); err != nil {
		return errors.Join(err, send(s, frame{Bye: err.Error()}))
	}
	if !dialled {
		err = greet() // only whom we let in learns our name
	}
	if ours.Of != theirs.Life { // they have not heard of theirs yet
		ours.Got = 0
	}
	s.SetDeadline(time.Time{})
	ctx, cancel := context.WithCancel(c.ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		c.tell(ctx, p, s, ours.Got)
		s.Close() // ends the reading
	}()
	for f := (frame{}); f.Bye == "" && err == nil; {
		p.limit.Wait(ctx) // the other end feels it by QUIC's flow control
		s.SetReadDeadline(time.Now().Add(silence))
		f = frame{}
		if err = receive(in, &f); err == nil {
			c.update(func() { c.heard(p, f) })
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.node.Disconnect(id) // the next stream is to be on a connection that lives
	}
	cancel()
	s.Close()
	<-told
	c.update(func() {
		if p.streams--; p.streams == 0 && p.ctx.Err() == nil && !c.leaving {
			p.path = "away"
			c.print("* %s is away; what you say is kept for them", p.name)
		}
	})
	return nil
}

// tell writes all that the other end lacks, as it comes to be: our messages, and
// the number of its last that is here, where that is above got. The goodbye is last.
func (c *chat) tell(ctx context.Context, p *peer, s net.Conn, got uint64) {
	for said, bye := uint64(0), false; !bye; {
		var out []frame
		wait, cancel := context.WithTimeout(ctx, beat)
		c.await(wait, func() bool {
			for _, f := range p.queue {
				if f.N > said {
					out, said = append(out, f), f.N
				}
			}
			if p.got > got {
				out, got = append(out, frame{Of: p.theirs, Got: p.got}), p.got
			}
			if bye = c.leaving && len(p.queue) == 0; bye {
				out = append(out, frame{Bye: "left"})
			}
			return len(out) > 0
		})
		if cancel(); len(out) == 0 {
			out = []frame{{}} // we are here
		}
		for _, f := range out {
			if send(s, f) != nil {
				return
			}
		}
	}
	sleep(ctx, time.Second) // for the other end to close
}

// way is a path as it is shown. Which relay, and that nothing came for a moment, is
// no news.
func way(p node.Path) string {
	if p.Kind == node.PathRelayed {
		return "by relay"
	}
	p.Quiet = false
	return p.String()
}

// moved tells by which way we talk with a peer now. Streams do not notice. In update.
func (c *chat) moved(id wire.PeerID) {
	p, path := c.peers[id], ""
	if at, ok := c.node.PathTo(id); ok {
		path = way(at)
	}
	if p != nil && p.streams > 0 && path != "" && path != p.path {
		p.path = path
		c.print("* %s: now %s", p.name, path)
	}
}

// send writes a line of JSON.
func send(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// receive reads a line of JSON that fits the buffer.
func receive(in *bufio.Reader, v any) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
