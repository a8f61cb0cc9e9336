package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/bench"
)

func (a *app) benchCommand() *cobra.Command {
	o := bench.Options{N: 100, M: 1000, C: 8, V: 100, Seed: 1}
	cmd := &cobra.Command{
		Use:   "bench WORKLOAD",
		Short: "Measure",
		Long: `Bench runs a workload on this machine's loopback and prints what it measured as
one JSON object; on a terminal, or with -v, it tells its steps on standard error.

  floor       raw UDP and raw QUIC: what nothing built on them can beat
  floor-mesh  raw QUIC between 100 endpoints, the floor of a network
  rpc         our own requests on one connection, beside the floor's
  w1          puts and gets in a network of n nodes
  w2          lookups of random keys, and how exact they are
  w3          the routing table alone
  w4          bytes and round trips on one stream
  w5          fresh connections
  w6          gets right after 30 % of the nodes died
  store       100,000 records on disk: synced puts, gets, memory, a restart; in
              the temporary directory ($TMPDIR), so name one on the disk you mean`,
		Example:   "  kad bench w1 -n 100 -m 1000 -c 8",
		ValidArgs: bench.Names(),
		Args:      takes(1, 1, "a WORKLOAD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(bench.Names(), args[0]) {
				return usagef("unknown workload %q; there are %s", args[0], strings.Join(bench.Names(), ", "))
			}
			for _, f := range []struct {
				name     string
				n, least int
			}{{"-n", o.N, 2}, {"-m", o.M, 1}, {"-c", o.C, 1}, {"--value-bytes", o.V, 1}} {
				if f.n < f.least {
					return usagef("%s is %d, want at least %d", f.name, f.n, f.least)
				}
			}
			return a.bench(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.N, "nodes", "n", o.N, "`NUMBER` of nodes")
	f.IntVarP(&o.M, "operations", "m", o.M, "`NUMBER` of operations")
	f.IntVarP(&o.C, "concurrency", "c", o.C, "`NUMBER` of operations in flight")
	f.IntVar(&o.V, "value-bytes", o.V, "`NUMBER` of bytes of a value")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "`NUMBER` behind every random choice")
	return cmd
}

func (a *app) bench(ctx context.Context, name string, o bench.Options) error {
	steps := io.Discard
	if isTerminal(a.err) || a.verbose > 0 {
		steps = a.err
	}
	report, err := bench.Run(ctx, name, o, steps)
	if err != nil {
		return err
	}
	if err := writeJSON(a.out, report); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
