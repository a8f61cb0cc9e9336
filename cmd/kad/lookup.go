package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) lookupCommand() *cobra.Command {
	var (
		key   keyFlags
		trace bool
	)
	cmd := &cobra.Command{
		Use:   "lookup KEY",
		Short: "Find the nodes nearest to a key",
		Long: `Lookup finds the nodes whose keys are nearest to KEY's, those that hold its
value if there is one, nearest first. With --trace it shows each request of the
lookup and what came of it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := key.parse(args[0])
			if err != nil {
				return err
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.lookup(ctx, k, trace)
			})
		},
	}
	key.add(cmd)
	cmd.Flags().BoolVar(&trace, "trace", false, "show each request")
	return cmd
}

func (a *app) lookup(ctx context.Context, key routing.Key, trace bool) error {
	n, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	r := new(recorder)
	if trace {
		r.each = a.hop
	}
	start := time.Now()
	nearest, err := n.Nearest(node.WithTrace(ctx, r.trace()), key)
	if err != nil {
		return err
	}
	d := time.Since(start)
	hops := r.hops()

	type contact struct {
		ID         wire.PeerID `json:"id"`
		Key        routing.Key `json:"key"`
		CommonBits int         `json:"common_bits"`
		Addrs      []string    `json:"addrs"`
	}
	contacts := make([]contact, 0, len(nearest))
	for _, c := range nearest {
		contacts = append(contacts, contact{c.ID, c.Key(), c.Key().CommonPrefixLen(key), addrStrings(c.Multiaddrs())})
	}
	a.object(struct {
		Event    string      `json:"event"`
		Key      routing.Key `json:"key"`
		Nearest  []contact   `json:"nearest"`
		Requests int         `json:"requests"`
		TookMS   float64     `json:"took_ms"`
	}{"lookup", key, contacts, len(hops), ms(d)})

	a.note("the %s nearest to %s, in %s and %s",
		plural(len(contacts), "node"), key, plural(len(hops), "request"), took(d))
	for _, c := range contacts {
		a.print("%s  %8s in common  %s", c.ID, plural(c.CommonBits, "bit"), strings.Join(c.Addrs, " "))
	}
	return nil
}

// hop prints one request of a traced lookup.
func (a *app) hop(h hop) {
	if a.json {
		a.object(struct {
			Event string `json:"event"`
			hop
		}{"request", h})
		return
	}
	a.note("  %s", h.sentence(fmt.Sprintf("%s, %s in common", h.Peer, plural(h.CommonBits, "bit"))))
}
