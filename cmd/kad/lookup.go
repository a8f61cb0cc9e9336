package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/routing"
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
		Example: `  kad lookup greeting --trace`,
		Args:    takes(1, 1, "KEY"),
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
	api, done, err := a.api(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	start := time.Now()
	var found control.Found
	for step, err := range api.Lookup(ctx, control.Lookup{Key: key, Trace: trace}) {
		switch {
		case err != nil:
			return err
		case step.Hop != nil:
			a.hop(*step.Hop)
		case step.Found != nil:
			found = *step.Found
		}
	}
	d := time.Since(start)
	a.object(struct {
		Event string      `json:"event"`
		Key   routing.Key `json:"key"`
		control.Found
		TookMS float64 `json:"took_ms"`
	}{"lookup", key, found, ms(d)})

	a.remark("the %s nearest to %s, in %s and %s",
		plural(len(found.Nearest), "node"), key, plural(found.Requests, "request"), took(d))
	for _, c := range found.Nearest {
		a.print("%s  %8s in common  %s", c.ID, plural(c.CommonBits, "bit"), strings.Join(c.Addrs, " "))
	}
	return nil
}

// hop prints one request of a traced lookup.
func (a *app) hop(h control.Hop) {
	if a.json {
		a.object(struct {
			Event string `json:"event"`
			control.Hop
		}{"request", h})
		return
	}
	a.note("  %s", sentence(h, fmt.Sprintf("%s, %s in common", h.Peer, plural(h.CommonBits, "bit"))))
}
