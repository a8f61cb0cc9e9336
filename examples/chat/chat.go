package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

const (
	maxName  = 24               // bytes
	maxPeers = 64               // of a room
	maxFind  = 30 * time.Second // between two looks into the room
	maxPlace = 5 * time.Second  // for a relay to be found
	help     = "* /peers or /path  who is here, and by which way    /send FILE  to all here\n" +
		"* /ticket  what others call you by    /quit    all else is said; ✓ all who are not away have it"
	alone = "* No way into a network is given, by --bootstrap or $KADQUIC_BOOTSTRAP: only tickets with addresses work."
)

// A chat is one run of the program. Goroutines wait for what they want to be true
// of it (await); whatever happens, happens to it in update.
type chat struct {
	node       *node.Node
	ctx        context.Context // until the goodbyes are said
	life       uint64          // random
	name, room string
	called     ticket         // if zero: the room, or whoever calls first
	downloads  string         // "": no files
	way        []ma.Multiaddr // into the network
	work       sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced by update
	out     io.Writer     // under mu, so that lines stand in the order of what they tell
	peers   map[wire.PeerID]*peer
	moving  int // files
	leaving bool
}

func (c *chat) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns nil when cond is true; it is asked after every update.
func (c *chat) await(ctx context.Context, cond func() bool) error {
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		c.mu.Unlock()
		if ok || ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// All that follows, but join, wait and meetRoom, is called in update.

// print shows a line. The words of others go through plain first.
func (c *chat) print(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// begin calls whom we want to meet, at once if the ticket says where they are.
func (c *chat) begin() {
	for _, a := range c.called.addrs {
		c.node.Learn(a)
	}
	if c.called.addrs != nil {
		c.find(c.called.id)
	} else if c.way == nil {
		c.print(alone)
	}
	c.work.Go(c.join)
}

// join joins the network, and does what needs it.
func (c *chat) join() {
	if c.way != nil {
		if err := c.node.Bootstrap(c.ctx, c.way...); err != nil { // the node goes on trying
			c.update(func() { c.print("* nobody in the network answers: %s", plain(err.Error(), 300)) })
		}
	}
	if c.room != "" {
		c.meetRoom()
	} else if c.called.id.IsZero() {
		c.wait()
	} else {
		c.update(func() { c.find(c.called.id) })
	}
}

// wait shows our ticket: if we seem to be behind a NAT, when a relay has a place for
// us, so that the ticket can name it.
func (c *chat) wait() {
	late := time.Now().Add(maxPlace)
	for time.Now().Before(late) && len(c.node.Relays()) == 0 && slices.ContainsFunc(c.node.Reachability().Addrs, func(a node.OwnAddr) bool {
		return !a.Local && a.Reach != node.ReachYes
	}) {
		sleep(c.ctx, 50*time.Millisecond)
	}
	c.update(func() { c.obey("/ticket") })
}

// meetRoom tells the network that we are in the room, until we leave, and meets all
// of whom it says the same.
func (c *chat) meetRoom() {
	key := routing.KeyOf("kadquic chat room\x00" + c.room)
	err := errors.New("not yet")
	for wait := time.Second; c.ctx.Err() == nil; wait = min(2*wait, maxFind) {
		if err != nil {
			_, err = c.node.Provide(c.ctx, key) // kept up by the node
		}
		for p, err := range c.node.FindProviders(c.ctx, key) {
			if err == nil && p.ID != c.node.ID() {
				c.update(func() { c.find(p.ID) })
			}
		}
		sleep(c.ctx, wait)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.node.StopProviding(ctx, key)
}

// obey does what the user types.
func (c *chat) obey(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case word == "":
	case word == "/ticket":
		c.print("* others call you by this ticket:\n%s", ticket{c.node.ID(), c.node.Addrs()})
	case word == "/peers" || word == "/path":
		for _, p := range c.peers {
			c.print("* %s  %s  %s", p.name, p.id, p.path)
		}
	case word == "/send":
		for _, p := range c.peers {
			if p.streams > 0 {
				c.offer(p, rest)
			}
		}
	case word[0] == '/':
		c.print(help)
	default:
		if !c.called.id.IsZero() {
			c.find(c.called.id) // they may have left, and be back
		} else if len(c.peers) == 0 {
			c.print("* nobody is here")
		}
		for _, p := range c.peers {
			if p.theirs != 0 || p.id == c.called.id {
				if err := p.say(line); err != nil {
					c.print("* not sent to %s: %v", p.name, err)
				}
			}
		}
	}
}

// find returns a peer, which is called until it leaves; nil when there are too many.
func (c *chat) find(id wire.PeerID) *peer {
	p := c.peers[id]
	if p == nil && len(c.peers) < maxPeers {
		p = &peer{id: id, name: label("", id), path: "away", limit: rate.NewLimiter(20, 100)}
		p.ctx, p.gone = context.WithCancel(c.ctx)
		c.peers[id] = p
		c.work.Go(func() { c.keep(p) })
	}
	return p
}

func (c *chat) drop(p *peer) {
	p.gone()
	delete(c.peers, p.id)
}

// label is how a peer is shown. Anybody may call itself anything, so the end of its
// ID stands with it.
func label(name string, id wire.PeerID) string {
	return strings.ReplaceAll(plain(name, maxName), " ", "_") + "·" + id.String()[48:]
}

// proof shows one peer, and no other, that we know the name of the room.
func (c *chat) proof(from, to wire.PeerID) string {
	return routing.KeyOf("kadquic chat\x00" + string(from[:]) + string(to[:]) + c.room).String()
}

// admit lets in somebody who has said hello, or says why not.
func (c *chat) admit(id wire.PeerID, hello frame, path string) (*peer, error) {
	p := c.peers[id]
	expected := p != nil || c.room != "" || id == c.called.id || c.called.id.IsZero() && len(c.peers) == 0
	switch {
	case hello.Life == 0 || hello.Bye != "":
		return nil, errors.New("they say: " + plain(hello.Bye, 80))
	case hello.Room != c.proof(id, c.node.ID()):
		return nil, errors.New("not in this room")
	case !expected, p == nil && c.leaving, c.find(id) == nil:
		return nil, errors.New("busy")
	}
	p = c.peers[id]
	p.name, p.path = label(hello.Name, id), path
	if p.theirs != hello.Life {
		c.print("* %s is here, %s", p.name, path)
	} else if p.streams == 0 {
		c.print("* %s is back, %s", p.name, path)
	}
	p.streams++
	p.meet(hello.Life)
	c.heard(p, frame{Of: hello.Of, Got: hello.Got})
	return p, nil
}

// heard takes in a frame. ✓ says that all who are not away have all that we said.
func (c *chat) heard(p *peer, f frame) {
	mark := p.acked(c.life, f)
	for _, q := range c.peers {
		mark = mark && (len(q.queue) == 0 || q.streams == 0)
	}
	if mark {
		c.print("  ✓")
	}
	if f.N != 0 && p.take(f) {
		c.print("%s: %s", p.name, plain(f.Text, maxText))
	}
	if f.Bye != "" && p.ctx.Err() == nil {
		c.print("* %s has left", p.name)
		c.drop(p)
	}
}
