package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) pingCommand() *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:   "ping PEERID|MULTIADDR",
		Short: "See whether a peer is there, and how far",
		Long: `Ping connects to a peer and measures how long it takes to answer. A MULTIADDR
(/ip4/…/udp/…/quic-v1/p2p/…) needs nothing else; a PEERID is looked up in the
network of --bootstrap.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 {
				return usagef("--count is %d, want at least 1", count)
			}
			return a.ping(cmd.Context(), args[0], count)
		},
	}
	cmd.Flags().IntVarP(&count, "count", "c", 1, "`NUMBER` of pings, one a second")
	return cmd
}

func (a *app) ping(ctx context.Context, whom string, count int) error {
	var addr ma.Multiaddr
	var id wire.PeerID
	var err error
	if strings.HasPrefix(whom, "/") {
		addr, err = peerAddr(whom)
	} else if id, err = wire.ParsePeerID(whom); err != nil {
		err = usagef("%q is neither a peer ID nor a multiaddr: %w", whom, err)
	}
	if err != nil {
		return err
	}
	var n *node.Node
	err = a.within(ctx, func(ctx context.Context) (err error) {
		n, id, err = a.reach(ctx, addr, id)
		return err
	})
	if err != nil {
		return err
	}
	defer n.Close()

	for i := range count {
		if i > 0 {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var rtt time.Duration
		err := a.within(ctx, func(ctx context.Context) (err error) {
			rtt, err = n.Ping(ctx, id)
			return err
		})
		if err != nil {
			return fmt.Errorf("ping %s: %w", id, err)
		}
		a.object(struct {
			ID    wire.PeerID `json:"id"`
			RTTMS float64     `json:"rtt_ms"`
		}{id, ms(rtt)})
		a.print("%s answered in %s", id, took(rtt))
	}
	return nil
}

// reach starts a client that is connected to the peer at addr, or, when addr is
// nil, to the peer id, found through the network.
func (a *app) reach(ctx context.Context, addr ma.Multiaddr, id wire.PeerID) (*node.Node, wire.PeerID, error) {
	if addr == nil {
		n, err := a.client(ctx)
		if err != nil {
			return nil, id, err
		}
		if _, err := n.FindPeer(ctx, id); err != nil {
			n.Close()
			return nil, id, err
		}
		return n, id, nil
	}
	n, err := a.startClient(ctx, nil)
	if err != nil {
		return nil, id, err
	}
	id, err = n.Connect(ctx, addr)
	if err != nil {
		n.Close()
		return nil, id, err
	}
	return n, id, nil
}
