package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) publishedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "published",
		Short: "List what this node keeps alive",
		Long: `Published lists the records that the node of this profile keeps alive: what was
put through it without --ttl, and what it provides. It signs each anew before its
24 hours end, also after a restart, until "kad unpublish" (or "kad provide
--stop"). A line tells the kind, the key, how many bytes the value has, on how
many nodes it was stored last, when it will be next, and its name, or the KEY that it
was put or provided under.`,
		Example: `  kad published
  kad unpublish --hex 3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.within(cmd.Context(), a.published)
		},
	}
}

func (a *app) published(ctx context.Context) error {
	api, err := a.ownDaemon(ctx, "published asks")
	if err != nil {
		return err
	}
	n := 0
	for p, err := range api.Published(ctx) {
		if err != nil {
			return err
		}
		n++
		a.object(p)
		a.print("%s", publicationLine(p, time.Now()))
	}
	if n == 0 && !a.json {
		a.note("This node keeps nothing alive. \"kad put\" without --ttl makes it do so.")
	}
	return nil
}

func publicationLine(p control.Publication, now time.Time) string {
	line := fmt.Sprintf("%-8s  %s  %5s", p.Kind, p.Key, plural(p.Size, "byte"))
	switch {
	case p.Error != "":
		line += fmt.Sprintf("  not renewed: %s; again %s", oneLine(p.Error), when(p.Next, now))
	case p.Renewed.IsZero():
		line += "  not stored since the node was started; to be " + when(p.Next, now)
	default:
		line += fmt.Sprintf("  stored on %d of %d, again %s", p.Stored, p.Of, when(p.Next, now))
	}
	switch {
	case len(p.Name) > 0:
		line += "  " + wire.Printable(string(p.Name))
	case p.Label != "":
		line += "  " + wire.Printable(p.Label)
	}
	return line
}

// when is a time as people say it, seen from now; the zero time is not known, but
// near.
func when(t, now time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return "soon"
	case d <= 0 && d > -time.Second, d > 0 && d < time.Second:
		return "now"
	case d < 0:
		return roughly(-d) + " ago"
	default:
		return "in " + roughly(d)
	}
}

// roughly is a duration to two figures or so.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func (a *app) unpublishCommand() *cobra.Command {
	var s subjectFlags
	cmd := &cobra.Command{
		Use: `unpublish KEY
  kad unpublish --kind owned --name NAME`,
		Short: "Let a value end",
		Long: `Unpublish ends what put began: the node of this profile no longer keeps the
record alive, and replaces it everywhere by a version that ends in a minute. (A
content record, which others may publish too, only ends when its 24 hours do.)
If the node keeps no such record alive: exit code 3.

` + subjectHelp,
		Example: `  kad unpublish greeting
  kad unpublish --kind owned --name status`,
		Args: takes(0, 1, "one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			which, err := s.parse(a, args)
			if err != nil {
				return err
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.unpublish(ctx, which)
			})
		},
	}
	s.add(cmd, false)
	return cmd
}

func (a *app) unpublish(ctx context.Context, which subject) error {
	api, err := a.ownDaemon(ctx, "unpublish is for")
	if err != nil {
		return err
	}
	start := time.Now()
	stored, err := api.Unpublish(ctx, control.Subject{Kind: which.kind, Key: which.key})
	if errors.Is(err, node.ErrNotFound) {
		return fmt.Errorf("%s is not among what this node keeps alive, which \"kad published\" lists: %w", wire.Printable(which.text), err)
	}
	if err != nil {
		return err
	}
	a.object(struct {
		control.Stored
		TookMS float64 `json:"took_ms"`
	}{stored, ms(time.Since(start))})
	if wire.Kind(which.kind) == wire.KindContent {
		a.print("no longer kept alive; it ends within 24 hours")
	} else {
		a.print("withdrawn on %d of %d; it ends within a minute", stored.Count, stored.Of)
	}
	return nil
}
