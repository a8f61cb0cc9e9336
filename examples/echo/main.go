// Echo is both ends of an application protocol. Without an argument it answers
// on "/echo/1" and prints its address; with that address as argument it connects
// there, says hello and prints the reply.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

const protocol = "/echo/1"

func main() {
	ctx := context.Background()
	var err error
	if len(os.Args) > 1 {
		err = say(ctx, os.Args[1], "hello")
	} else {
		err = answer(ctx, node.Config{}, func(addr ma.Multiaddr) { fmt.Println(addr) })
	}
	if err != nil {
		log.Fatal(err)
	}
}

// answer sends back whatever comes, until ctx ends. It calls ready with its
// address. The zero Config is a fresh identity on any free UDP port.
func answer(ctx context.Context, config node.Config, ready func(ma.Multiaddr)) error {
	n, err := node.New(config)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	defer n.Close()
	l, err := n.Listen(protocol)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	ready(n.Addrs()[0])
	for {
		c, err := l.Accept() // a net.Conn that is one QUIC stream
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func(c net.Conn) {
			defer c.Close()
			io.Copy(c, c)
		}(c)
	}
}

// say sends a line to the peer at addr and prints the answer.
func say(ctx context.Context, addr, line string) error {
	peer, err := ma.NewMultiaddr(addr)
	if err != nil {
		return err
	}
	_, id, err := wire.SplitPeer(peer)
	if err != nil {
		return err
	}
	n, err := node.New(node.Config{Bootstrap: []ma.Multiaddr{peer}, Mode: node.ModeClient})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Start(ctx); err != nil {
		return err
	}
	c, err := n.Dial(ctx, id, protocol) // by ID: the network knows where it is
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(c, line)
	back, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Print(back)
	return nil
}
