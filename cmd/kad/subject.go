package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A keyFlags is how commands take their KEY: text, or with --hex the bits.
type keyFlags struct{ hex bool }

func (k *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.hex, "hex", false, "KEY is the 256-bit key itself, as 64 hex digits, not text to be hashed by SHA3-256")
}

func (k *keyFlags) parse(s string) (routing.Key, error) {
	if s == "" {
		return routing.Key{}, usagef("KEY is empty")
	}
	if !k.hex {
		return routing.KeyOf(s), nil
	}
	key, err := routing.ParseKey(s)
	if err != nil {
		return routing.Key{}, usagef("KEY %q is not 64 hex digits: %w", s, err)
	}
	return key, nil
}

// label returns what the user calls the key that s stands for, "" if s is the key itself
// or too long to be remembered.
func (k *keyFlags) label(s string) string {
	if k.hex || len(s) > node.MaxLabel {
		return ""
	}
	return s
}

// subjectFlags are how commands say which record they mean: its kind, and what
// its key is made from.
type subjectFlags struct {
	key       keyFlags
	kind      string
	name      string
	publisher string
	named     bool // --name was given, if only as ""
	provider  bool // provider records are meant as well
	cmd       *cobra.Command
}

// A subject is a record's kind, key and name, and the user's label for it.
type subject struct {
	kind control.Kind
	key  routing.Key
	name []byte // only a record of this name; nil: of any, or none
	text string
}

// subjectHelp explains the flags; commands that have them append it.
const subjectHelp = `A record is one of three kinds, which never compete:
  open     under any KEY, by any publisher; that is what there is without --kind
  owned    --name NAME: under a key made of the publisher and NAME, which nobody
           else can write
  content  under the SHA3-256 of its value; KEY is that, as 64 hex digits`

func (s *subjectFlags) add(cmd *cobra.Command, whose bool) {
	s.cmd = cmd
	s.key.add(cmd)
	f := cmd.Flags()
	kinds := "open, owned or content"
	if s.provider {
		kinds = "open, owned, content or provider"
	}
	f.StringVar(&s.kind, "kind", "open", "`KIND` of the record: "+kinds)
	completeKind(cmd, kinds)
	f.StringVar(&s.name, "name", "", "`NAME` of an owned record, or of an open one, whose KEY it then stands for")
	if whose {
		f.StringVar(&s.publisher, "publisher", "", "`PEERID` of who owns the owned record (default this profile's)")
	}
}

// completeKind has the shell offer kinds, which are listed as for people.
func completeKind(cmd *cobra.Command, kinds string) {
	words := strings.FieldsFunc(strings.ReplaceAll(kinds, " or ", ","), func(r rune) bool { return r == ',' || r == ' ' })
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // fails only without such a flag
}

// parseKind reads --kind.
func (s *subjectFlags) parseKind() (control.Kind, error) {
	kind, err := control.ParseKind(s.kind)
	switch {
	case err == nil && (putByHand(kind) || s.provider && wire.Kind(kind) == wire.KindProvider):
	case s.provider:
		return 0, usagef("--kind is %q, want open, owned, content or provider", s.kind)
	default:
		return 0, usagef("--kind is %q, want open, owned or content", s.kind)
	}
	s.named = s.cmd.Flags().Changed("name")
	if s.named && len(s.name) > wire.MaxName {
		return 0, usagef("--name has %d bytes, want at most %d", len(s.name), wire.MaxName)
	}
	return kind, nil
}

func putByHand(k control.Kind) bool {
	switch wire.Kind(k) {
	case wire.KindOpen, wire.KindOwned, wire.KindContent:
		return true
	}
	return false
}

// parse reads which record the flags and args, none or KEY, mean.
func (s *subjectFlags) parse(a *app, args []string) (subject, error) {
	kind, err := s.parseKind()
	if err != nil {
		return subject{}, err
	}
	if s.publisher != "" && (wire.Kind(kind) != wire.KindOwned || s.key.hex) {
		return subject{}, usagef("--publisher goes with --kind owned --name NAME: the key of other records does not depend on who publishes them")
	}
	switch {
	case s.named && len(args) > 0:
		return subject{}, usagef("give KEY or --name, not both")
	case s.named && wire.Kind(kind) == wire.KindContent:
		return subject{}, usagef("a content record has no name: its KEY is the SHA3-256 of its value")
	case s.named && wire.Kind(kind) == wire.KindOwned:
		who, err := s.owner(a)
		if err != nil {
			return subject{}, err
		}
		return subject{kind, wire.OwnedKey(who, []byte(s.name)), []byte(s.name), s.name}, nil
	case s.named:
		return subject{kind, routing.KeyOf(s.name), []byte(s.name), s.name}, nil
	case len(args) == 0 && wire.Kind(kind) == wire.KindOwned:
		return subject{}, usagef("which owned record? Give its --name NAME, and --publisher PEERID if it is not this profile's, or its key by --hex KEY")
	case len(args) == 0:
		return subject{}, usagef("which record? Give its KEY, or its --name")
	case wire.Kind(kind) == wire.KindOwned && !s.key.hex:
		return subject{}, usagef("an owned record has a name: give it by --name %q, or the 64 hex digits of its key with --hex", args[0])
	}
	k := s.key
	k.hex = k.hex || wire.Kind(kind) == wire.KindContent // the hash of the value; text is hashed by put
	key, err := k.parse(args[0])
	return subject{kind, key, nil, args[0]}, err
}

// owner returns the publisher of the owned record.
func (s *subjectFlags) owner(a *app) (wire.PeerID, error) {
	if s.publisher != "" {
		id, err := wire.ParsePeerID(s.publisher)
		if err != nil {
			return id, usagef("--publisher %q is not a peer ID: %w", s.publisher, err)
		}
		return id, nil
	}
	p, err := a.openProfile()
	if err != nil {
		return wire.PeerID{}, err
	}
	if _, err := os.Stat(p.keyFile()); errors.Is(err, fs.ErrNotExist) {
		return wire.PeerID{}, usagef("whose? The profile %q has published nothing yet: give --publisher PEERID", p.dir)
	}
	return loadIdentity(p.keyFile())
}
