package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) pingCommand() *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:   "ping PEERID|MULTIADDR",
		Short: "See whether a peer is there, and how far",
		Long: `Ping connects to a peer and measures how long it takes to answer. A MULTIADDR
(/ip4/…/udp/…/quic-v1/p2p/…, or /…/p2p/RELAY/p2p-circuit/p2p/…) needs nothing else;
a PEERID is looked up in the network.

Of each answer it says which way packets go: direct, to an address that anybody can
reach; punched, to one that works since both sides have sent there; or relayed by
another node. It goes on until they are not relayed, at most ` + fmt.Sprint(mostPings) + ` times.`,
		Example: `  kad ping 12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5
  kad ping -c 5 /ip4/192.0.2.1/udp/4774/quic-v1/p2p/12D3KooW…`,
		Args: takes(1, 1, "PEERID or MULTIADDR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 && cmd.Flags().Changed("count") {
				return usagef("--count is %d, want at least 1", count)
			}
			return a.ping(cmd.Context(), args[0], count)
		},
	}
	cmd.Flags().IntVarP(&count, "count", "c", 0, "`NUMBER` of pings (default until no relay is needed)")
	return cmd
}

const (
	mostPings = 30
	pingEvery = time.Second
)

// ping pings count times; with 0, until no relay is needed.
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
	var api control.API
	var done func()
	err = a.within(ctx, func(ctx context.Context) (err error) {
		if addr == nil {
			api, done, err = a.api(ctx, nil)
			return err
		}
		api, id, done, err = a.reach(ctx, addr)
		return err
	})
	if err != nil {
		return err
	}
	defer done()

	times := count
	if times == 0 {
		times = mostPings
	}
	var connected control.Duration // of the first ping: the time that the user waited
	for i := range times {
		if i > 0 {
			select {
			case <-time.After(pingEvery):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var pong control.Pong
		err := a.within(ctx, func(ctx context.Context) (err error) {
			pong, err = api.Ping(ctx, control.Peer{ID: id})
			return err
		})
		if errors.Is(err, control.ErrBadRequest) { // it says which peer and why
			return usagef("ping: %w", err)
		}
		if err != nil {
			return fmt.Errorf("ping %s: %w", id, err)
		}
		if i == 0 {
			connected = pong.Connected
		}
		pong.Connected = connected
		if pong.Direct > 0 {
			pong.Direct = max(pong.Direct, connected)
		}
		a.object(struct {
			ID wire.PeerID `json:"id"`
			control.Pong
		}{id, pong})
		line := fmt.Sprintf("%s answered in %s, %s", id, took(time.Duration(pong.RTT)), pong.Path)
		if i == 0 && pong.Connected > 0 {
			line += fmt.Sprintf("; connected after %s", took(time.Duration(pong.Connected)))
		}
		a.print("%s", line)
		if count == 0 && pong.Path.Kind != node.PathRelayed.String() {
			break
		}
	}
	return nil
}

// reach starts a client that is connected to the peer at addr.
func (a *app) reach(ctx context.Context, addr ma.Multiaddr) (control.API, wire.PeerID, func(), error) {
	n, err := a.startClient(ctx, nil)
	if err != nil {
		return nil, wire.PeerID{}, nil, err
	}
	id, err := n.Connect(ctx, addr)
	if err != nil {
		n.Close()
		return nil, id, nil, err
	}
	return control.Local(n, control.Options{Network: a.network}), id, func() { n.Close() }, nil
}
