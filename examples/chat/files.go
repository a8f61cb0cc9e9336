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

var errCancelled = errors.New("cancelled")

// send sends a file to a peer, when those before it are sent. In update.
func (c *chat) send(p *peer, path string) {
	ctx, before, done := p.wanted, p.sent, make(chan struct{})
	p.sent = done
	c.sending++
	c.work.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		err := c.sendFile(ctx, p, path)
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
	offer.File = &transfer.Ask{Offer: f.Offer}
	asked, waits := false, false
	for c.await(ctx, func() bool { return p.here }) == nil {
		answer, err := c.ask(ctx, p.id, offer, nil) // whether it is wanted, and from where on
		asked = true
		if err == nil && !answer.There.Wait && answer.There.Have != f.Size {
			data := offer
			data.File = &transfer.Ask{Offer: f.Offer, Data: true, Have: f.From(answer.There)}
			answer, err = c.ask(ctx, p.id, data, func(s net.Conn) error {
				return f.Send(ctx, s, data.File.Have, c.progress(p, data.File))
			})
		}
		switch {
		case err == nil && answer.There.Wait:
			if !waits {
				c.update(func() { c.print("* %s to %s: waits until they accept it", path, p.name) })
			}
			waits = true
			soon, cancel := context.WithTimeout(ctx, beat)
			c.await(soon, func() bool { return p.decided == f.ID })
			cancel()
		case err == nil && answer.There.Have == f.Size:
			return nil
		case errors.As(err, new(refusal)) || errors.Is(err, transfer.ErrShort):
			return err
		case err != nil && ctx.Err() == nil:
			c.update(func() { c.lost(p, err) })
		}
	}
	if offer.File.Withdrawn = true; asked {
		c.ask(p.ctx, p.id, offer, nil)
	}
	return context.Cause(ctx)
}

// take handles a peer's message about a file, with the bytes that follow it, if any.
func (c *chat) take(p *peer, ask *transfer.Ask, s net.Conn, in io.Reader) (there transfer.Answer, err error) {
	var part *transfer.Part
	told := false // the user, why the file does not come
	c.update(func() {
		if err = p.ctx.Err(); err != nil {
			return
		}
		fresh := p.inbox.Offered(ask.Offer)
		if ask.Withdrawn {
			_, ok := p.inbox.Cancel(transfer.ErrWithdrawn)
			told = !ok
		} else if _, ok := p.inbox.Pending(); fresh && ok && c.takeAll {
			p.inbox.Accept(c.downloads, c.from(p))
		} else if fresh && ok {
			c.print("* %s offers %s, %d bytes: /accept takes it, /cancel does not", p.name, ask.Name, ask.Size)
		}
		part, err = p.inbox.Part()
	})
	there.Wait = part == nil
	if part != nil {
		there, err = part.Receive(p.ctx, s, in, *ask, c.progress(p, ask))
		s.SetDeadline(time.Now().Add(patience))
	}
	c.update(func() {
		if told = told || errors.Is(err, errCancelled); err != nil && !told {
			c.print("* %s from %s: %v", ask.Name, p.name, err)
		} else if part != nil && err == nil {
			if path, ok := part.Announce(); ok {
				c.print("* %s from %s is here: %s", ask.Name, p.name, path)
			}
		}
	})
	return there, err
}

// accept takes the file of that name that is offered, or the only one. In update.
func (c *chat) accept(name string) {
	offered := make(map[*peer]string)
	for _, p := range c.peers {
		if o, ok := p.inbox.Pending(); ok && (name == "" || o.Name == name) {
			offered[p] = o.Name
		}
	}
	switch {
	case len(offered) == 0:
		c.print("* no such file is offered")
	case len(offered) > 1 && name == "":
		for p, name := range offered {
			c.print("* %s from %s: /accept %s", name, p.name, name)
		}
	default:
		var err error
		if c.downloads == nil {
			c.downloads, err = transfer.OpenDir(".")
		}
		for p, name := range offered {
			if err = cmp.Or(err, p.inbox.Accept(c.downloads, c.from(p))); err != nil {
				c.print("* %s from %s: %v", name, p.name, err)
			}
			p.news = true
		}
	}
}

// from names the sender and the receiver of a file, so that after a crash the part of the same
// sender is resumed.
func (c *chat) from(p *peer) string { return fmt.Sprint(p.id, " to ", c.node.ID()) }

// progress shows how far a file is, and how fast it goes.
func (c *chat) progress(p *peer, f *transfer.Ask) func(int64, float64) {
	return func(n int64, speed float64) {
		limit := ""
		if conn, ok := c.node.Conn(p.id); ok && conn.Path.Kind == node.PathRelayed {
			limit = "; it goes through a relay, which limits that"
		}
		c.update(func() {
			c.print("* %s, %s: %d of %d bytes, %.1f MB/s%s", f.Name, p.name, f.Have+n, f.Size, speed/1e6, limit)
		})
	}
}
