package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
)

func (a *app) recordsCommand() *cobra.Command {
	var (
		kind string
		most int
	)
	cmd := &cobra.Command{
		Use:   "records",
		Short: "List what this node holds",
		Long: `Records lists the records that the node of this profile holds, for others and of
its own, nearest to its own key first: how many bits the keys have in common, the
kind, the key, who published it, how many bytes it has, and when it ends. A
"cached" one is a copy beside the nearest nodes, and goes first.`,
		Example: `  kad records -n 20
  kad records --json --kind owned`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var only control.Kind
			if kind != "" {
				var err error
				if only, err = control.ParseKind(kind); err != nil {
					return usagef("--kind: %w", err)
				}
			}
			if most < 0 {
				return usagef("-n is %d, want at least 0", most)
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.records(ctx, only, most)
			})
		},
	}
	const kinds = "open, owned, content, peer or provider"
	cmd.Flags().StringVar(&kind, "kind", "", "only this `KIND`: "+kinds)
	completeKind(cmd, kinds)
	cmd.Flags().IntVarP(&most, "most", "n", 0, "only the `NUMBER` nearest (default all)")
	return cmd
}

func (a *app) records(ctx context.Context, only control.Kind, most int) error {
	api, err := a.ownDaemon(ctx, "records asks")
	if err != nil {
		return err
	}
	n := 0
	for r, err := range api.Records(ctx) {
		if err != nil {
			return err
		}
		if only != 0 && r.Kind != only {
			continue
		}
		a.object(r)
		cached := ""
		if r.Cached {
			cached = "  cached"
		}
		a.print("%3d  %-8s  %s  %s  %5s  ends %s%s", r.CommonBits, r.Kind, r.Key, r.Publisher, plural(r.Size, "byte"), when(r.Until, time.Now()), cached)
		if n++; n == most {
			break
		}
	}
	if n == 0 && !a.json {
		a.note("This node holds none.")
	}
	return nil
}
