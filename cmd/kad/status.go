package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the node of this profile does",
		Long: `Status shows the node that runs on this profile: who and where it is, whom it
knows, what it holds. None runs: exit code 4.`,
		Example: `  kad status
  kad status --json --data /srv/node`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.within(cmd.Context(), a.status)
		},
	}
}

func (a *app) status(ctx context.Context) error {
	api, err := a.ownDaemon(ctx, "status asks")
	if err != nil {
		return err
	}
	s, err := api.Status(ctx)
	if err != nil {
		return err
	}
	a.object(s)
	a.print("peer ID      %s", s.ID)
	for _, addr := range s.Addrs {
		a.print("address      %s", addr)
	}
	for _, p := range s.PortMappings {
		a.print("router       %s", routerDoes(p))
	}
	for _, r := range s.Relays {
		a.print("relay        %s at %s, %v away, for %s", r.ID, r.Addr, time.Duration(r.RTT).Round(time.Millisecond), roughly(time.Since(r.Since)))
	}
	a.print("network      %s, as a %s", wire.Printable(s.Network), s.Mode)
	a.print("profile      %s", wire.Printable(s.Data))
	a.print("running      for %s, as process %d", roughly(time.Since(s.Started)), s.PID)
	a.print("peers        %d in the routing table, %d known, %s open", s.Peers, s.Known, plural(s.Connections, "connection"))
	a.print("records      %d held, %s", s.Records, size(s.RecordBytes))
	unsettled := ""
	if s.Unsettled > 0 {
		unsettled = fmt.Sprintf(", %d of them to be stored yet", s.Unsettled)
	}
	a.print("published    %d kept alive%s", s.Published, unsettled)
	a.print("for others   %s republished, %d handed over to newcomers", plural(int(s.Republished), "record"), s.HandedOver)
	a.print("requests     %d sent, %d answered", s.Sent, s.Served)
	if relays := relayedFor(s.Relaying); relays != "" {
		a.print("relaying     %s", relays)
	}
	if s.Damaged > 0 {
		a.print("damage       %s lost to damage on disk, see \"kad doctor\"", plural(s.Damaged, "record"))
		for _, loss := range s.Losses {
			a.print("             %s", oneLine(loss))
		}
	}
	if s.ReadOnly != "" {
		a.print("disk         cannot be written, so nothing new is stored: %s", oneLine(s.ReadOnly))
	}
	return nil
}

// relayedFor says what the node does for others as their relay; "" for nothing.
func relayedFor(r control.Relaying) string {
	if r == (control.Relaying{}) {
		return ""
	}
	does := fmt.Sprintf("for %s with a place here, %s talking; %s passed on", plural(r.Reservations, "peer"), plural(r.Pairs, "pair"), size(r.Bytes))
	if r.Refused > 0 {
		does += fmt.Sprintf(", %s refused", plural(int(r.Refused), "request"))
	}
	if r.Dropped > 0 {
		does += fmt.Sprintf(", %s dropped", plural(int(r.Dropped), "packet"))
	}
	return does
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return plural(int(n), "byte")
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// routerDoes says what the router does for one of the node's ports.
func routerDoes(p control.PortMapping) string {
	does := fmt.Sprintf("maps no port: %s", oneLine(p.Why))
	if p.Outside.IsValid() {
		does = fmt.Sprintf("lets others in at %v, by %s", p.Outside, p.Protocol)
		if !p.Expires.IsZero() {
			does += fmt.Sprintf(", until %s unless renewed", logTime(p.Expires))
		}
		if p.Why != "" {
			does += "; " + oneLine(p.Why)
		}
	}
	return does
}
