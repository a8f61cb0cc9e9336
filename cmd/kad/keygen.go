package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/quic"
)

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make a new identity",
		Long: `Keygen makes an Ed25519 key and writes it to FILE (PKCS#8 PEM, mode 0600), or
makes it this profile's identity. A file that is there is never overwritten: an
identity cannot be had again.`,
		Args: takes(0, 1, "one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.openProfile()
			if err != nil {
				return err
			}
			file, generate := p.keyFile(), p.key
			if len(args) == 1 {
				file = args[0]
				generate = func() (ed25519.PrivateKey, bool, error) { return quic.LoadOrCreateKey(file) }
			}
			key, created, err := generate()
			if err != nil {
				return err
			}
			id := peerIDOf(key)
			if !created {
				return fmt.Errorf("%s is there already and holds the identity %s; it was left as it is", file, id)
			}
			a.identity(identityJSON{id, id.Key(), file})
			return nil
		},
	}
}
