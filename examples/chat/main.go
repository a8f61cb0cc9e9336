// Chat is a conversation of two, or of all in a room, without a server: their
// nodes find each other by key and talk over QUIC, whatever is in between.
//
//	chat [flags]                 prints a ticket, and waits for whoever has it
//	chat [flags] TICKET|PEERID   calls them
//	chat [flags] --room NAME     meets all who name the same room
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

const farewell = 10 * time.Second // for what was said last to arrive

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second one ends us at once
	c, err := newChat(os.Args[1:])
	if err == nil {
		err = c.run(ctx, os.Stdin, os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// newChat makes a chat of the command line.
func newChat(args []string) (*chat, error) {
	c := &chat{life: rand.Uint64() | 1, changed: make(chan struct{}), peers: make(map[wire.PeerID]*peer)}
	var config node.Config
	home, _ := os.UserConfigDir()
	flags := flag.NewFlagSet("chat [flags] [TICKET|PEERID]", flag.ContinueOnError)
	flags.StringVar(&c.name, "name", "", "what to call yourself")
	flags.StringVar(&c.room, "room", "", "meet all who name this room")
	flags.StringVar(&c.downloads, "downloads", "", "take files that others send, into this `DIR`")
	flags.StringVar(&config.Network, "network", "main", "the network")
	key := flags.String("key", filepath.Join(home, "kadquic-chat", "identity.pem"), "`FILE` of your identity, made where there is none")
	ephemeral := flags.Bool("ephemeral", false, "be somebody new, this once: for a second chat on one machine")
	flags.Func("listen", "at `ADDR`, as /ip4/127.0.0.1/udp/0/quic-v1; may be repeated (default everywhere)", func(s string) error {
		a, err := ma.NewMultiaddr(s)
		config.Listen = append(config.Listen, a)
		return err
	})
	bootstrap := func(s string) error {
		t, err := parseTicket(s)
		c.way = append(c.way, t.addrs...)
		return err
	}
	flags.Func("bootstrap", "`ADDR` or ticket of somebody in the network; may be repeated (default $KADQUIC_BOOTSTRAP)", bootstrap)
	err := flags.Parse(args)
	if env := os.Getenv("KADQUIC_BOOTSTRAP"); err == nil && env != "" && c.way == nil {
		err = bootstrap(env)
	}
	if err == nil && flags.NArg() > 0 {
		c.called, err = parseTicket(flags.Arg(0))
	}
	if err == nil && (flags.NArg() > 1 || flags.NArg() == 1 && c.room != "") {
		err = errors.New("after the flags goes one ticket at most, and none with --room")
	}
	if err == nil && c.downloads != "" {
		err = os.MkdirAll(c.downloads, 0o700)
	}
	if err == nil && !*ephemeral {
		config.Key, _, err = quic.LoadOrCreateKey(*key)
	}
	if err != nil {
		return nil, err
	}
	config.Trace = &node.Trace{Path: func(e node.PathEvent) {
		c.work.Go(func() { c.update(func() { c.moved(e.Peer) }) }) // who tells us is not to wait
	}}
	if c.node, err = node.New(config); err == nil && c.called.id == c.node.ID() {
		err = errors.New("that is your own ticket; a second chat on this machine needs --ephemeral")
	}
	return c, err
}

// run talks until the input or ctx ends.
func (c *chat) run(ctx context.Context, in io.Reader, out io.Writer) error {
	s, err := newScreen(in, out)
	if err != nil {
		return err
	}
	defer s.restore()
	c.out = s
	defer c.work.Wait()
	defer c.node.Close() // ends every stream
	if err := c.node.Start(ctx); err != nil {
		return err
	}
	var end context.CancelFunc
	c.ctx, end = context.WithCancel(context.WithoutCancel(ctx)) // when ctx ends, there are goodbyes to say
	defer end()
	talk := func(s net.Conn) error { return c.talkOver(s, false) }
	if err := cmp.Or(c.serve(talkProtocol, talk), c.serve(fileProtocol, c.takeFile)); err != nil {
		return err
	}
	c.update(c.begin)
	typing, quit := context.WithCancel(ctx)
	go func() {
		defer quit()
		for line, err := s.readLine(); err == nil && line != "/quit"; line, err = s.readLine() {
			c.update(func() { c.obey(line) })
		}
	}()
	<-typing.Done()
	s.restore() // so that Ctrl-C ends the waiting
	return c.leave(ctx)
}

// leave says goodbye to all, each when they have what was said; of those who are
// away it waits for the one we called.
func (c *chat) leave(ctx context.Context) error {
	c.await(ctx, func() bool { return c.moving == 0 }) // files, however long that takes
	last, cancel := context.WithTimeout(c.ctx, farewell)
	defer cancel()
	c.update(func() { c.leaving = true })
	if c.await(last, func() bool {
		for _, p := range c.peers {
			if p.streams > 0 || p.id == c.called.id && len(p.queue) > 0 && ctx.Err() == nil {
				return false
			}
		}
		return true
	}) != nil {
		return errors.New("not all that was said has arrived")
	}
	return nil
}
