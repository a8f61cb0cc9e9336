package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A putOptions is the command line of put.
type putOptions struct {
	subject subjectFlags
	file    string
	quorum  int
	ttl     time.Duration
	ifSeq   uint64
}

func (a *app) putCommand() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use: `put KEY [VALUE | -]
  kad put --name NAME [VALUE | -]
  kad put --kind owned --name NAME [VALUE | -]
  kad put --kind content [VALUE | -]`,
		Short: "Store a value in a network",
		Long: fmt.Sprintf(`Put stores a value of up to %d bytes on the nodes whose keys are nearest to
KEY's, signed by this profile's key, and says on how many. The value is VALUE,
or the bytes of a file, or with "-" standard input. A later put of the same
profile under the same key replaces the value.

Through the node that runs on this profile the value is kept alive: the node
signs it anew before its 24 hours end, until "kad unpublish". With --ttl it ends
when that is over; without a node on the profile, after 24 hours.

%s

A node that cannot join the network that it was told of keeps the value and
publishes it once it has joined; until then put fails, with exit code 5.

A KEY or VALUE that begins with a dash comes after "--": kad put t -- -5`, wire.MaxValue, subjectHelp),
		Example: `  kad put greeting "hello world"
  kad put photo --file photo.jpg
  date | kad put now - --ttl 1m
  kad put --kind owned --name status "out to lunch"
  kad put --kind content --file paper.txt
  kad put --bootstrap $ADDR greeting "hello from a client"`,
		Args: takes(0, 2, "KEY and VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTime(cmd, "ttl", o.ttl, time.Second, wire.MaxTTL); err != nil {
				return err
			}
			return a.put(cmd.Context(), args, o, cmd.Flags().Changed("if-seq"))
		},
	}
	o.subject.add(cmd, false)
	f := cmd.Flags()
	f.StringVar(&o.file, "file", "", "the value is the content of this `FILE`")
	f.IntVar(&o.quorum, "quorum", 0, "fail, with exit code 7, when fewer than this `NUMBER` of nodes stored the value")
	f.DurationVar(&o.ttl, "ttl", 0, "`TIME` that the value lives, 1s to 24h, and is not renewed (default 24h, renewed)")
	f.Uint64Var(&o.ifSeq, "if-seq", 0, "of an owned record: only if the newest version has this sequence `NUMBER`, as \"kad get --json\" shows it; 0: only if there is none. Else exit code 8")
	return cmd
}

func (a *app) put(ctx context.Context, args []string, o putOptions, ifSeq bool) error {
	p, args, err := o.record(args)
	if err != nil {
		return err
	}
	switch {
	case o.quorum < 0:
		return usagef("--quorum is %d, want at least 0", o.quorum)
	case ifSeq && wire.Kind(p.Kind) != wire.KindOwned:
		return usagef("--if-seq goes with --kind owned: other records have no one version that is the newest")
	case ifSeq:
		p.IfSeq = &o.ifSeq
	}
	p.Quorum, p.TTL = o.quorum, control.Duration(o.ttl)
	if p.Value, err = a.putValue(args, o.file); err != nil {
		return err
	}
	return a.within(ctx, func(ctx context.Context) error {
		api, done, err := a.api(ctx, a.profileKey)
		if err != nil {
			return err
		}
		defer done()
		start := time.Now()
		stored, err := api.Put(ctx, p)
		if errors.Is(err, node.ErrQuorum) && o.quorum == 0 {
			return errors.New(err.Error()) // no node stored it; exit code 7 is for --quorum only
		}
		if err != nil {
			return err
		}
		a.object(struct {
			control.Stored
			Kind   control.Kind `json:"kind"`
			Bytes  int          `json:"bytes"`
			TookMS float64      `json:"took_ms"`
		}{stored, p.Kind, len(p.Value), ms(time.Since(start))})
		if wire.Kind(p.Kind) == wire.KindOpen {
			a.print("%s", storedOn(stored))
		} else { // the user cannot know the key
			a.print("%s under %s", storedOn(stored), stored.Key)
		}
		return nil
	})
}

// record reads which record to put, and returns what args say of its value.
func (o *putOptions) record(args []string) (control.Put, []string, error) {
	kind, err := o.subject.parseKind()
	p := control.Put{Kind: kind}
	switch {
	case err != nil:
		return p, nil, err
	case wire.Kind(kind) == wire.KindContent && o.subject.named:
		return p, nil, usagef("a content record has no name: its key is the SHA3-256 of its value")
	case wire.Kind(kind) == wire.KindContent && len(args) > 1:
		return p, nil, usagef("a content record takes no KEY, it is the SHA3-256 of the value: give VALUE only")
	case wire.Kind(kind) == wire.KindOwned && !o.subject.named:
		return p, nil, usagef("an owned record has a name: kad put --kind owned --name NAME VALUE")
	case o.subject.named && o.subject.key.hex:
		return p, nil, usagef("--hex goes with KEY, and --name stands in its place")
	case o.subject.named && len(args) > 1:
		return p, nil, usagef("--name stands in the place of KEY: give VALUE only")
	case o.subject.named:
		p.Name = []byte(o.subject.name)
		if wire.Kind(kind) == wire.KindOpen {
			p.Key = routing.KeyOf(p.Name)
		}
		return p, args, nil
	case wire.Kind(kind) == wire.KindContent:
		return p, args, nil
	case len(args) == 0:
		return p, nil, usagef("give KEY and VALUE: kad put KEY VALUE")
	}
	p.Key, err = o.subject.key.parse(args[0])
	p.Label = o.subject.key.label(args[0])
	return p, args[1:], err
}

func storedOn(s control.Stored) string { return fmt.Sprintf("stored on %d of %d", s.Count, s.Of) }

// putValue reads the value to put: the argument, --file, or standard input.
func (a *app) putValue(args []string, file string) ([]byte, error) {
	switch {
	case len(args) > 0 && file != "":
		return nil, usagef("give VALUE or --file, not both")
	case file != "":
		f, err := openInput(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readValue(f, file)
	case len(args) == 0:
		return nil, usagef("no value: give VALUE, --file FILE, or - for standard input")
	case args[0] == "-":
		return readValue(a.in, "standard input")
	}
	return []byte(args[0]), checkValue(len(args[0]), "VALUE")
}

// readValue reads no more of r than shows that it is too much.
func readValue(r io.Reader, name string) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, wire.MaxValue+1))
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	return value, checkValue(len(value), name)
}

func checkValue(n int, name string) error {
	if n > wire.MaxValue {
		return usagef("%s is too long for a value: at most %d bytes", name, wire.MaxValue)
	}
	return nil
}
