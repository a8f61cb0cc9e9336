package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
)

var (
	errCancelled = errors.New("cancelled")
	errWithdrawn = errors.New("they gave it up")
)

// send sends a file to a peer, one after another. In update.
func (c *chat) send(p *peer, path string) {
	ctx := p.wanted
	c.sending++
	c.work.Go(func() {
		p.turn.Lock()
		err := c.sendFile(ctx, p, path)
		p.turn.Unlock()
		c.update(func() {
			c.sending--
			c.print("* %s to %s: %v", path, p.name, cmp.Or(err, errors.New("it is there")))
		})
	})
}

// sendFile offers a file until the peer has it, has refused it, or ctx ends. When the
// connection breaks, the rest goes over the next.
func (c *chat) sendFile(ctx context.Context, p *peer, path string) error {
	f, err := transfer.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	offer := c.hello
	offer.Offer = &f.Offer
	asked, waits := false, false
	for c.await(ctx, func() bool { return p.here }) == nil {
		answer, err := c.ask(ctx, p.id, offer, nil) // whether it is wanted, and from where on
		asked = true
		if err == nil && !answer.Wait && answer.Have != f.Size {
			data := offer
			data.Data, data.Have = true, f.From(answer.Have, answer.Check)
			answer, err = c.ask(ctx, p.id, data, func(s net.Conn) error {
				return c.move(ctx, p, s, s, io.NewSectionReader(f, data.Have, f.Size), data)
			})
		}
		switch {
		case err == nil && answer.Wait:
			if !waits {
				c.update(func() { c.print("* %s to %s: waits until they accept it", path, p.name) })
			}
			waits = true
			soon, cancel := context.WithTimeout(ctx, beat)
			c.await(soon, func() bool { return p.decided == f.ID })
			cancel()
		case err == nil && answer.Have == f.Size:
			return nil
		case errors.As(err, new(refusal)) || errors.Is(err, transfer.ErrShort):
			return err
		case err != nil && ctx.Err() == nil:
			c.update(func() { c.lost(p, err) })
		}
	}
	if offer.Withdrawn = true; asked {
		c.ask(p.ctx, p.id, offer, nil)
	}
	return context.Cause(ctx)
}

// take handles an offer, with the bytes that follow it, if any.
func (c *chat) take(p *peer, ask frame, s net.Conn, in io.Reader) (answer frame) {
	answer = c.hello
	defer s.SetDeadline(time.Now().Add(patience))
	var part *transfer.Part
	var err error
	c.update(func() {
		if err = p.ctx.Err(); err != nil {
			return
		}
		fresh := p.inbox.Offered(*ask.Offer)
		if ask.Withdrawn {
			if _, ok := p.inbox.Cancel(errWithdrawn); ok {
				c.print("* %s from %s: %v", ask.Offer.Name, p.name, errWithdrawn)
			}
		} else if _, ok := p.inbox.Pending(); fresh && ok && c.takeAll {
			p.inbox.Accept(c.downloads, c.from(p))
		} else if fresh && ok {
			c.print("* %s offers %s, %d bytes: /accept takes it, /cancel does not", p.name, ask.Offer.Name, ask.Offer.Size)
		}
		part, err = p.inbox.Part()
	})
	if part != nil {
		select {
		case <-part.Ready():
			if ask.Data && errors.Is(c.move(p.ctx, p, s, io.NewOffsetWriter(part, ask.Have), in, ask), transfer.ErrShort) {
				part.Cancel(errWithdrawn)
			}
			answer.Have, answer.Check, err = part.Have()
		case <-time.After(beat):
			part = nil
		}
	}
	answer.Wait = part == nil
	c.update(func() {
		if err != nil && !ask.Withdrawn && !errors.Is(err, errCancelled) { // that was said
			c.print("* %s from %s: %v", ask.Offer.Name, p.name, err)
		} else if part != nil {
			if path, ok := part.Announce(); ok {
				c.print("* %s from %s is here: %s", ask.Offer.Name, p.name, path)
			}
		}
	})
	if err != nil {
		return frame{Bye: err.Error()}
	}
	return answer
}

// accept takes the file of that name that is offered, or the only one. In update.
func (c *chat) accept(name string) {
	offered := make(map[*peer]string)
	for _, p := range c.peers {
		if o, ok := p.inbox.Pending(); ok && (name == "" || o.Name == name) {
			offered[p] = o.Name
		}
	}
	var err error
	switch {
	case len(offered) == 0:
		c.print("* no such file is offered")
	case len(offered) > 1 && name == "":
		for p, name := range offered {
			c.print("* %s from %s: /accept %s", name, p.name, name)
		}
	case c.downloads == nil:
		if c.downloads, err = transfer.OpenDir("."); err != nil {
			c.print("* %v", err)
			return
		}
		fallthrough
	default:
		for p, name := range offered {
			if err := p.inbox.Accept(c.downloads, c.from(p)); err != nil {
				c.print("* %s from %s: %v", name, p.name, err)
			}
			p.news = true // so that they need not ask again
		}
	}
}

// from names the two ends of a file's way to us, so that after a crash it is continued
// from what the same peer has sent.
func (c *chat) from(p *peer) string { return fmt.Sprint(p.id, " to ", c.node.ID()) }

// move copies what is left of a file to or from a stream, and says how fast.
func (c *chat) move(ctx context.Context, p *peer, s net.Conn, dst io.Writer, src io.Reader, f frame) error {
	return transfer.Copy(ctx, s, dst, src, f.Offer.Size-f.Have, func(n int64, speed float64) {
		limit := ""
		if path, ok := c.node.PathTo(p.id); ok && path.Kind == node.PathRelayed {
			limit = "; it goes through a relay, which limits that"
		}
		c.update(func() {
			c.print("* %s, %s: %d of %d bytes, %.1f MB/s%s", f.Offer.Name, p.name, f.Have+n, f.Offer.Size, speed/1e6, limit)
		})
	})
}
