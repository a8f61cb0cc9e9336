package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/console"
	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A chat is one run of the program. Goroutines wait for a condition of it with await, and change
// it only in update.
type chat struct {
	node      *node.Node
	ctx       context.Context // until the goodbyes are said
	hello     frame           // says who we are
	room      string
	called    node.Ticket // zero, and room empty: wait for the first caller
	bootstrap []ma.Multiaddr
	downloads *os.Root // where files go; nil: not known yet
	takeAll   bool     // files, without /accept
	lock      func()   // of our identity: it is not for two at once
	work      sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond        // by update
	out     *console.Console // used under mu, so that lines are in the order of events
	peers   map[wire.PeerID]*peer
	sending int // files
	leaving bool
}

// A peer is a partner of the conversation. chat.mu guards its fields.
type peer struct {
	talk
	id   wire.PeerID
	name string                  // with the end of the ID, because a peer can take any name
	here bool                    // it has answered, or asked, and not failed to since
	path string                  // by which packets last went, or "away"
	ctx  context.Context         // ends when the peer is forgotten
	gone context.CancelCauseFunc // forgets the peer

	inbox   transfer.Inbox  // of files
	news    bool            // for it: its offer is accepted or refused
	decided uint64          // the ID of our offer that it has accepted or refused
	sent    chan struct{}   // closed when the last file for it is sent, or given up
	wanted  context.Context // until those for it are cancelled
	stop    context.CancelCauseFunc
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

// meet finds the peers to talk with, until ctx ends.
func (c *chat) meet(ctx context.Context) {
	switch {
	case c.room != "":
		c.hint("waiting for others who name this room; /help lists the commands")
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
			c.node.AddAddr(a) // so that the network need not be asked
		}
		c.hint("calling; what you say is kept until they are here; /help lists the commands")
		c.update(func() { c.find(c.called.ID) })
	default:
		first := true
		for ticket := range c.node.Tickets(ctx) {
			if first {
				c.hint("this ticket says where you are. Give it to one person, who calls you by: chat TICKET")
				c.update(func() { c.print("%s", ticket) })
				c.hint("waiting for them; /help lists the commands")
			} else {
				c.update(func() { c.better(ticket) })
			}
			first = false
		}
	}
}

// hint tells a person, and no script, what to do.
func (c *chat) hint(text string) {
	if c.out.IsTerminal() {
		c.update(func() { c.print("* %s", text) })
	}
}

// join joins the network through the named bootstrap peers.
func (c *chat) join(ctx context.Context) {
	if len(c.bootstrap) == 0 {
		return
	}
	err := c.node.Bootstrap(ctx, c.bootstrap...)
	if err == nil || ctx.Err() != nil {
		return
	}
	c.update(func() {
		c.print("* not in the network yet, and trying on: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	})
	c.work.Go(func() {
		for c.node.Stats().Peers == 0 {
			soon, cancel := context.WithTimeout(ctx, time.Second)
			<-soon.Done()
			cancel()
			if ctx.Err() != nil {
				return
			}
		}
		c.update(func() { c.print("* in the network now") })
	})
}

// All that follows is called in update.

// print shows a line, quoted as in Go if there is something in it that a terminal obeys.
func (c *chat) print(format string, args ...any) {
	fmt.Fprintln(c.out, wire.Printable(fmt.Sprintf(format, args...)))
}

const help = `* /peers or /path: who is here, and by which way
* /send FILE: to all who are here; /accept: the file that they offer; /cancel: no more of files
* /quit, Ctrl-D or Ctrl-C: leave
* all else is said; ✓: all who are not away have it`

// better shows a better ticket than the first, which is useful until a peer has called.
func (c *chat) better(ticket node.Ticket) {
	if len(c.peers) == 0 {
		c.print("* a better ticket, if nobody has called you yet: %s", ticket)
	}
}

// obey executes a line that the user typed.
func (c *chat) obey(line string) {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	c.find(c.called.ID) // they may have left, and be back
	switch {
	case word == "" || c.leaving:
	case word == "/help":
		for line := range strings.SplitSeq(help, "\n") {
			c.print("%s", line)
		}
	case word == "/accept":
		c.accept(rest)
	case word == "/cancel":
		for _, p := range c.peers {
			p.stop(errCancelled)
			if offer, ok := p.inbox.Cancel(errCancelled); ok {
				c.print("* %s from %s: %v", offer.Name, p.name, errCancelled)
				p.news = true
			}
			p.wanted, p.stop = context.WithCancelCause(p.ctx)
		}
	case word == "/send" && rest == "":
		c.print("* /send FILE: which file?")
	case word[0] == '/' && word != "/send" && word != "/peers" && word != "/path":
		c.print("* unknown command %s; /help lists the commands", word)
	case len(c.peers) == 0 && word[0] != '/':
		c.print("* nobody is here yet: that was sent to nobody")
	case len(c.peers) == 0:
		c.print("* nobody is here yet")
	default:
		for _, p := range c.peers {
			if word == "/send" {
				c.send(p, rest)
			} else if word[0] == '/' {
				c.print("* %s  %s  %s", p.name, p.id, p.path)
			} else if err := p.say(line); err != nil {
				c.print("* not sent to %s: %v", p.name, err)
			}
		}
	}
}

// find returns a peer and keeps calling it until it leaves. It returns nil for the zero ID and if there are too many peers.
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
	p.inbox.Cancel(context.Cause(p.ctx))
	delete(c.peers, p.id)
}

// heard handles a frame from a peer, and returns the answer.
func (c *chat) heard(id wire.PeerID, ask frame) frame {
	known := c.peers[id] != nil || id == c.called.ID
	open := c.room != "" || c.called.ID.IsZero() && len(c.peers) == 0
	if ask.Life == 0 || ask.Room != c.hello.Room {
		return frame{Bye: "not in this room"}
	} else if !known && !open || c.find(id) == nil {
		return frame{Bye: busy}
	}
	p := c.peers[id]
	c.met(p, ask)
	p.decided = ask.Decided
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

// met notes that a peer is here, as f says. The path to it may have changed, which streams do
// not notice.
func (c *chat) met(p *peer, f frame) {
	conn, _ := c.node.Conn(p.id)
	at := conn.Path
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

// busy is the refusal of a peer that talks with another.
const busy = "busy"

// lost notes that a peer could not be reached, or refuses.
func (c *chat) lost(p *peer, err error) {
	state, text := "away", "is away; what you say is kept for them: "+strings.ReplaceAll(err.Error(), "\n", "; ")
	if said := refusal(""); errors.As(err, &said) && said == busy {
		state, text = busy, "is talking with somebody else; what you say is kept until they are free"
	}
	if p.path != state {
		c.print("* %s %s", p.name, text)
	}
	p.here, p.path = false, state
}

// behind returns the largest number of our messages that a peer that is here has not received.
func (c *chat) behind() (most int) {
	for _, p := range c.peers {
		if p.here {
			most = max(most, len(p.queue))
		}
	}
	return most
}
