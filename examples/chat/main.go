// Chat is a conversation of two people, or of all in a room, without a server. Their nodes find
// each other by key and talk over QUIC, also through NATs.
//
//	chat [flags]                 prints a ticket, and waits for a caller that has it
//	chat [flags] TICKET|PEERID   calls that peer
//	chat [flags] --room NAME     meets all peers in the same room
//
// Read chat.go for how peers meet, talk.go for the delivery of messages, and files.go for
// files.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/console"
	"github.com/kadquic/kadquic/internal/filelock"
	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // the second one ends us at once
	c, err := newChat(os.Args[1:])
	if err == nil {
		err = c.run(ctx, os.Stdin, os.Stdout)
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "chat: %s\nchat --help lists the flags.\n", wire.Printable(err.Error()))
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "chat:", wire.Printable(err.Error()))
		os.Exit(1)
	}
}

// A usageError is a fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// newChat makes a chat of the command line.
func newChat(args []string) (*chat, error) {
	c := &chat{hello: frame{Life: rand.Uint64() | 1}, peers: make(map[wire.PeerID]*peer)}
	c.changed.L = &c.mu
	var config node.Config
	home, _ := os.UserConfigDir()
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main tells the error
	flags.StringVar(&c.hello.Name, "name", "", "what to call yourself")
	flags.StringVar(&c.room, "room", "", "meet all who name this room")
	downloads := flags.String("downloads", "", "take all files that others offer, into this `DIR`, made where there is none")
	key := flags.String("key", filepath.Join(home, "kadquic-chat", "identity.pem"), "`FILE` of your identity, made where there is none")
	ephemeral := flags.Bool("ephemeral", false, "be somebody new, this once: for a second chat on one machine")
	flags.Func("listen", "at `ADDR`, as /ip4/127.0.0.1/udp/0/quic-v1; may be repeated (default everywhere)", func(s string) error {
		a, err := ma.NewMultiaddr(s)
		config.Listen = append(config.Listen, a)
		return err
	})
	flags.Func("bootstrap", "`ADDR` or ticket of somebody in the network; may be repeated", func(s string) error {
		t, err := node.ParseTicket(s)
		if err == nil && len(t.Addrs) == 0 {
			err = errors.New("it has no address")
		}
		c.bootstrap = append(c.bootstrap, t.Addrs...)
		return err
	})
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Println("Usage: chat [flags] [TICKET|PEERID]")
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return nil, err
	}
	flags.Visit(func(f *flag.Flag) {
		if g, ok := f.Value.(flag.Getter); ok && g.Get() == "" {
			err = fmt.Errorf("--%s needs a value", f.Name)
		}
	})
	c.hello.Room = routing.KeyOf("kadquic chat room\x00" + c.room)
	if err == nil && flags.NArg() > 0 {
		c.called, err = node.ParseTicket(flags.Arg(0))
	}
	if err == nil && (flags.NArg() > 1 || flags.NArg() == 1 && c.room != "") {
		err = errors.New("after the flags goes one ticket at most, and none with --room")
	}
	if err != nil {
		return nil, usageError{err}
	}
	if c.takeAll = *downloads != ""; c.takeAll {
		if c.downloads, err = transfer.OpenDir(*downloads); err != nil {
			return nil, err
		}
	}
	if !*ephemeral {
		if config.Key, _, err = quic.LoadOrCreateKey(*key); err == nil {
			c.lock, err = filelock.Lock(*key + ".lock")
		}
	}
	if errors.Is(err, filelock.ErrLocked) {
		err = errors.New("you have a chat that runs; a second on this machine needs --ephemeral")
	}
	if err != nil {
		return nil, err
	}
	if c.node, err = node.New(config); err != nil {
		return nil, usageError{err} // invalid listen addresses
	} else if c.called.ID == c.node.ID() {
		return nil, usageError{errors.New("that is your own ticket: give it to somebody else")}
	}
	return c, nil
}

// run talks until the input or ctx ends.
func (c *chat) run(ctx context.Context, in io.Reader, out io.Writer) error {
	defer c.work.Wait()
	defer c.node.Close() // ends every stream
	if err := c.node.Start(ctx); err != nil {
		return err
	}
	screen, err := console.Open(in, out)
	if err != nil {
		return err
	}
	c.out = screen
	var end context.CancelFunc
	c.ctx, end = context.WithCancel(context.WithoutCancel(ctx)) // when ctx ends, there are goodbyes to say
	defer end()
	typing, quit := context.WithCancel(ctx)
	c.work.Go(func() {
		c.join(typing)
		c.meet(typing)
	})
	go func() {
		defer quit()
		for line, err := screen.ReadLine(); err == nil && line != "/quit"; line, err = screen.ReadLine() {
			c.update(func() { c.obey(line) })
			c.await(typing, func() bool { return c.behind() < maxQueued }) // many are pasted, perhaps
		}
	}()
	if _, err = c.node.Handle(protocol, maxStreams, c.answer); err == nil {
		<-typing.Done()
	}
	screen.Close() // so that Ctrl-C ends the waiting
	return cmp.Or(err, c.leave(ctx))
}

// leave says goodbye to every peer after it has received all messages. Of the peers that are
// away it waits only for the one that this program called.
func (c *chat) leave(ctx context.Context) error {
	c.update(func() {
		if c.sending > 0 {
			c.print("* waiting until what you send has arrived; Ctrl-C gives it up")
		}
	})
	c.await(ctx, func() bool { return c.sending == 0 }) // however long that takes
	c.update(func() { c.leaving = true })
	last, cancel := context.WithTimeoutCause(c.ctx, patience, errors.New("not all that was said has arrived"))
	defer cancel()
	return c.await(last, func() bool {
		for id, p := range c.peers {
			if p.here || id == c.called.ID && len(p.queue) > 0 && ctx.Err() == nil {
				return false
			}
		}
		return true
	})
}
