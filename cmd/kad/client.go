package main

import (
	"context"
	"fmt"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
)

// client starts a node for one command. It has a temporary identity, and is in
// client mode, so that no routing table keeps it. It has
// joined the network of --bootstrap, or of $KAD_BOOTSTRAP, when client returns.
func (a *app) client(ctx context.Context) (*node.Node, error) {
	peers, err := a.bootstrapPeers()
	if err != nil {
		return nil, err
	}
	return a.startClient(ctx, peers)
}

func (a *app) startClient(ctx context.Context, bootstrap []ma.Multiaddr) (*node.Node, error) {
	n, err := node.New(node.Config{
		Network:   a.network,
		Mode:      node.ModeClient,
		Bootstrap: bootstrap,
		Agent:     agent,
		Logger:    a.logger(),
	})
	if err != nil {
		return nil, err
	}
	if err := n.Start(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

const agent = "kad"

// ms is a duration in JSON: milliseconds, to the microsecond.
func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// took is a duration for people.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// addrStrings are addrs as text.
func addrStrings(addrs []ma.Multiaddr) []string {
	s := make([]string, len(addrs))
	for i, addr := range addrs {
		s[i] = addr.String()
	}
	return s
}
