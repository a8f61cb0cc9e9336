package main

import (
	"context"
	"fmt"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
)

// client starts a node for one command: with an identity of its own for as long
// as it lives, and in client mode, so that no routing table keeps it. It has
// joined the network of --bootstrap when client returns.
func (a *app) client(ctx context.Context) (*node.Node, error) {
	peers, err := a.bootstrapPeers()
	if err != nil {
		return nil, err
	}
	if len(peers) == 0 {
		return nil, usagef("which network? Give the address of one of its nodes by --bootstrap, " +
			"as \"kad up\" prints it: --bootstrap /ip4/192.0.2.1/udp/4774/quic-v1/p2p/12D3KooW… (or set KAD_BOOTSTRAP)")
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

// A keyFlags is how commands take their KEY: text, or with --hex the bits.
type keyFlags struct{ hex bool }

func (k *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.hex, "hex", false, "KEY is the 256-bit key itself, as 64 hex digits, not text to be hashed by SHA3-256")
}

func (k *keyFlags) parse(s string) (routing.Key, error) {
	if s == "" {
		return routing.Key{}, usagef("KEY is empty")
	}
	if !k.hex {
		return routing.KeyOf(s), nil
	}
	key, err := routing.ParseKey(s)
	if err != nil {
		return routing.Key{}, usagef("KEY %q is not 64 hex digits: %w", s, err)
	}
	return key, nil
}

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
