package main

import (
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// An identityJSON is an identity as --json prints it.
type identityJSON struct {
	ID   wire.PeerID `json:"id"`
	Key  routing.Key `json:"key"` // its place in the key space
	File string      `json:"file,omitempty"`
}

func (a *app) idCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "id [PEERID]",
		Short: "Show this profile's identity",
		Long: `Id prints the peer ID of this profile, its key in the network (SHA3-256 of the
public key) and the file that holds the private key; the first use makes one.
With PEERID it prints that peer's key.`,
		Args: takes(0, 1, "one PEERID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				id, err := wire.ParsePeerID(args[0])
				if err != nil {
					return usagef("%q is not a peer ID: %w", args[0], err)
				}
				a.identity(identityJSON{ID: id, Key: id.Key()})
				return nil
			}
			p, err := a.openProfile()
			if err != nil {
				return err
			}
			key, created, err := p.key()
			if err != nil {
				return err
			}
			if created && !a.json {
				a.note("a new identity, in %s", p.keyFile())
			}
			id := peerIDOf(key)
			a.identity(identityJSON{id, id.Key(), p.keyFile()})
			return nil
		},
	}
}

func (a *app) identity(i identityJSON) {
	a.object(i)
	a.print("peer ID  %s", i.ID)
	a.print("key      %s", i.Key)
	if i.File != "" {
		a.print("file     %s", i.File)
	}
}
