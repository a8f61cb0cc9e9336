package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) durabilityCommand() *cobra.Command {
	s := subjectFlags{provider: true}
	cmd := &cobra.Command{
		Use: `durability KEY
  kad durability --kind owned --name NAME [--publisher PEERID]`,
		Short: "See which of the nearest nodes hold a value now",
		Long: `Durability asks each of the nodes nearest to KEY, which are to hold its value,
whether it does, and changes nothing. A line tells of each, nearest first; the
last says how many hold it. Nobody: exit code 3.

` + subjectHelp,
		Example: `  kad durability greeting
  kad durability --kind owned --name status --publisher 12D3KooW…`,
		Args: takes(0, 1, "one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			which, err := s.parse(a, args)
			if err != nil {
				return err
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.durability(ctx, which)
			})
		},
	}
	s.add(cmd, true)
	return cmd
}

func (a *app) durability(ctx context.Context, which subject) error {
	api, done, err := a.api(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	d, err := api.Durability(ctx, control.Subject{Kind: which.kind, Key: which.key})
	if err != nil && len(d.Holders) == 0 {
		return err
	}
	a.object(d)
	for _, h := range d.Holders {
		a.print("%s  %s", h.ID, holds(h, time.Now()))
	}
	if err != nil {
		return fmt.Errorf("that is not all: %w", err)
	}
	a.print("held by %d of %d", d.Held, d.Of)
	if d.Held == 0 {
		return fmt.Errorf("%s: %w", wire.Printable(which.text), node.ErrNotFound)
	}
	return nil
}

// holds says what one node holds of a record.
func holds(h control.Holder, now time.Time) string {
	switch {
	case h.Error != "":
		return "does not answer: " + oneLine(h.Error)
	case len(h.Versions) == 0:
		return "does not hold it"
	}
	versions := make([]string, len(h.Versions))
	for i, v := range h.Versions {
		versions[i] = "sequence " + strconv.FormatUint(v.Seq, 10) + ", ends " + when(v.Expiry, now)
		if len(h.Versions) > 1 {
			versions[i] += ", of " + v.Publisher.String()
		}
	}
	text := "holds " + strings.Join(versions, "; ")
	if h.Behind {
		text = "is behind: " + text
	}
	if h.RTT > 0 {
		text += " (" + took(time.Duration(h.RTT)) + ")"
	}
	return text
}
