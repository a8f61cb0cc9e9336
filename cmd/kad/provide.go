package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/routing"
)

func (a *app) provideCommand() *cobra.Command {
	var (
		key  keyFlags
		stop bool
	)
	cmd := &cobra.Command{
		Use:   "provide KEY",
		Short: "Say that this node has what a key stands for",
		Long: `Provide tells the nodes nearest to KEY that the node of this profile provides
what KEY stands for: that it is in that room, has that file, runs that service.
What that means is between those who use the key. "kad providers KEY" finds it.

The node goes on saying so, also after a restart, until --stop. Of a node that
ends for good the others forget it within 24 hours.`,
		Example: `  kad provide room/blue
  kad provide --stop room/blue`,
		Args: takes(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := key.parse(args[0])
			if err != nil {
				return err
			}
			p := control.Provide{Key: k, Label: key.label(args[0]), Stop: stop}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.provide(ctx, args[0], p)
			})
		},
	}
	key.add(cmd)
	cmd.Flags().BoolVar(&stop, "stop", false, "provide it no longer")
	return cmd
}

func (a *app) provide(ctx context.Context, name string, p control.Provide) error {
	api, err := a.ownDaemon(ctx, "provide speaks for")
	if err != nil {
		return err
	}
	start := time.Now()
	stored, err := api.Provide(ctx, p)
	if err != nil {
		return getError(name, err)
	}
	if p.Stop {
		a.object(struct {
			Key     routing.Key `json:"key"`
			Stopped bool        `json:"stopped"`
		}{p.Key, true})
		a.print("no longer provided; others forget it within a minute")
		return nil
	}
	a.object(struct {
		control.Stored
		TookMS float64 `json:"took_ms"`
	}{stored, ms(time.Since(start))})
	a.print("%s", storedOn(stored))
	return nil
}

func (a *app) providersCommand() *cobra.Command {
	var (
		key  keyFlags
		most int
	)
	cmd := &cobra.Command{
		Use:   "providers KEY",
		Short: "Find the peers that have what a key stands for",
		Long: `Providers prints the peers that provide what KEY stands for, each once, as they
are found: the peer ID, and where it says it can be reached. Nobody: exit code 3.`,
		Example: `  kad providers room/blue
  kad providers -n 1 room/blue`,
		Args: takes(1, 1, "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := key.parse(args[0])
			if err != nil {
				return err
			}
			if most < 0 {
				return usagef("-n is %d, want at least 0", most)
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.providers(ctx, args[0], k, most)
			})
		},
	}
	key.add(cmd)
	cmd.Flags().IntVarP(&most, "most", "n", 0, "end when this `NUMBER` is found (default all)")
	return cmd
}

func (a *app) providers(ctx context.Context, name string, key routing.Key, most int) error {
	api, done, err := a.api(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	n := 0
	for p, err := range api.Providers(ctx, control.Key{Key: key}) {
		if err != nil {
			return getError(name, err)
		}
		a.object(p)
		a.print("%s  %s", p.ID, strings.Join(p.Addrs, " "))
		if n++; n == most {
			break
		}
	}
	return nil
}
