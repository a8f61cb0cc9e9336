package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A chat is one run of the program. Goroutines wait for what they want to be true
// of it (await); whatever happens, happens to it in update.
type chat struct {
	node      *node.Node
	ctx       context.Context // until the goodbyes are said
	hello     frame           // says who we are
	room      string
	called    node.Ticket // if it and room are zero: whoever calls first
	downloads *os.Root    // nil: no files
	lock      func()      // of our identity: it is not for two at once
	work      sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // by update
	out     io.Writer // under mu, so that lines stand in the order of what they tell
	peers   map[wire.PeerID]*peer
	sending int // files
	leaving bool
}

// A peer is somebody with whom we talk. chat.mu guards its fields.
type peer struct {
	talk
	id   wire.PeerID
	name string                  // and the end of the ID, for anybody may call itself anything
	here bool                    // it has answered, or asked, and not failed to since
	path string                  // by which packets last went, or "away"
	ctx  context.Context         // as long as it is a peer of ours
	gone context.CancelCauseFunc // it is no more

	inbox  transfer.Inbox  // of files
	turn   sync.Mutex      // to send it one
	wanted context.Context // until those for it are cancelled
	stop   context.CancelCauseFunc
}

func (c *chat) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.changed.Broadcast()
}

// await returns nil when cond is true; it is asked after every update.
func (c *chat) await(ctx context.Context, cond func() bool) error {
	defer context.AfterFunc(ctx, func() { c.update(func() {}) })()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !cond() && ctx.Err() == nil {
		c.changed.Wait()
	}
	return context.Cause(ctx)
}

// meet finds whom we want to talk with, until ctx ends.
func (c *chat) meet(ctx context.Context) {
	switch {
	case c.room != "":
		said := ""
		for id, err := range c.node.Rendezvous(ctx, c.hello.Room) {
			switch {
			case err == nil:
				said = ""
				c.update(func() { c.find(id) })
			case err.Error() != said: // once, not at every try
				said = err.Error()
				c.update(func() { c.print("* %v", err) })
			}
		}
	case !c.called.ID.IsZero():
		for _, a := range c.called.Addrs {
			c.node.Learn(a) // so that the network need not be asked
		}
		c.update(func() { c.find(c.called.ID) })
	default:
		ticket := c.node.Ticket(ctx)
		c.update(func() { c.print("%s", ticket) })
	}
}

// All that follows is called in update.

// print shows a line, quoted as in Go if there is something in it that a terminal obeys.
func (c *chat) print(format string, args ...any) {
	fmt.Fprintln(c.out, wire.Printable(fmt.Sprintf(format, args...)))
}

// obey does what the user types.
func (c *chat) obey(line string) {
	word, rest, _ := strings.Cut(line, " ")
	c.find(c.called.ID) // they may have left, and be back
	switch {
	case word == "" || c.leaving:
	case word == "/peers" || word == "/path":
		for id, p := range c.peers {
			c.print("* %s  %s  %s", p.name, id, p.path)
		}
	case word == "/cancel":
		for _, p := range c.peers {
			p.stop(errors.New("cancelled"))
			p.inbox.Cancel(errors.New("cancelled"))
			p.wanted, p.stop = context.WithCancelCause(p.ctx)
		}
	case word[0] == '/' && word != "/send":
		c.print("* /peers or /path: who is here, and by which way; /send FILE: to them; /cancel: no more of files; /quit")
		c.print("* all else is said; ✓: all who are not away have it")
	case len(c.peers) == 0:
		c.print("* nobody is here")
	default:
		for _, p := range c.peers {
			if word == "/send" {
				c.send(p, rest)
			} else if err := p.say(line); err != nil {
				c.print("* not sent to %s: %v", p.name, err)
			}
		}
	}
}

// find returns a peer, which is called until it leaves; nil for nobody, or too many.
func (c *chat) find(id wire.PeerID) *peer {
	p := c.peers[id]
	if p == nil && !id.IsZero() && len(c.peers) < maxPeers && !c.leaving {
		p = &peer{id: id, name: id.String(), path: "calling"}
		p.ctx, p.gone = context.WithCancelCause(c.ctx)
		p.wanted, p.stop = context.WithCancelCause(p.ctx)
		c.peers[id] = p
		c.work.Go(func() { c.keep(p) })
	}
	return p
}

func (c *chat) drop(p *peer) {
	p.gone(errors.New("they have left"))
	delete(c.peers, p.id)
}

// heard takes in what somebody asks, and returns what to answer.
func (c *chat) heard(id wire.PeerID, ask frame) frame {
	known := c.peers[id] != nil || id == c.called.ID
	open := c.room != "" || c.called.ID.IsZero() && len(c.peers) == 0
	if ask.Life == 0 || ask.Room != c.hello.Room {
		return frame{Bye: "not in this room"}
	} else if !known && !open || c.find(id) == nil {
		return frame{Bye: "busy"}
	}
	p := c.peers[id]
	c.met(p, ask)
	for i, text := range ask.Said {
		if p.take(ask.N+uint64(i), text) {
			c.print("%s: %s", p.name, text)
		}
	}
	if ask.Bye != "" {
		c.print("* %s has left", p.name)
		c.drop(p)
	}
	answer := c.hello
	answer.Got = p.got
	return answer
}

// met notes that a peer is here, by what it says of itself. The path to it may be
// another than before: streams do not notice.
func (c *chat) met(p *peer, f frame) {
	at, _ := c.node.PathTo(p.id)
	at.Quiet = false // for a moment, perhaps: no news
	path := at.String()
	if !p.here || p.theirs != f.Life {
		p.name = fmt.Sprintf("%.24s·%s", strings.ReplaceAll(f.Name, " ", "_"), p.id.String()[48:])
		c.print("* %s is here, %s", p.name, path)
	} else if path != p.path {
		c.print("* %s: now %s", p.name, path)
	}
	p.here, p.path = true, path
	p.meet(f.Life)
}

// lost notes that a peer could not be reached.
func (c *chat) lost(p *peer, err error) {
	if p.path != "away" {
		c.print("* %s is away; what you say is kept for them: %s", p.name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	p.here, p.path = false, "away"
}

// behind is how many of our messages somebody who is here does not have.
func (c *chat) behind() (most int) {
	for _, p := range c.peers {
		if p.here {
			most = max(most, len(p.queue))
		}
	}
	return most
}
