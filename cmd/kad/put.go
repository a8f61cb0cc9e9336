package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A putOptions is the command line of put.
type putOptions struct {
	key    keyFlags
	file   string
	quorum int
	ttl    time.Duration
}

func (a *app) putCommand() *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE | -]",
		Short: "Store a value in a network",
		Long: fmt.Sprintf(`Put stores a value of up to %d bytes on the nodes whose keys are nearest to
KEY's, signed by this profile's key, and says on how many. The value is VALUE,
or the bytes of a file, or with "-" standard input. A later put of the same
profile under the same key replaces the value.

A KEY or VALUE that begins with a dash comes after "--": kad put t -- -5`, wire.MaxValue),
		Example: `  kad put --bootstrap $ADDR greeting "hello world"
  kad put --bootstrap $ADDR --file photo.jpg photo
  date | kad put --bootstrap $ADDR now -`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.put(cmd.Context(), args, o)
		},
	}
	o.key.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.file, "file", "", "the value is the content of this `FILE`")
	f.IntVar(&o.quorum, "quorum", 0, "fail, with exit code 7, when fewer than this `NUMBER` of nodes stored the value")
	f.DurationVar(&o.ttl, "ttl", 0, "`TIME` that the value lives, 1s to 24h (default 24h)")
	return cmd
}

func (a *app) put(ctx context.Context, args []string, o putOptions) error {
	key, err := o.key.parse(args[0])
	if err != nil {
		return err
	}
	switch {
	case o.quorum < 0:
		return usagef("--quorum is %d, want at least 0", o.quorum)
	case o.ttl != 0 && (o.ttl < time.Second || o.ttl > wire.MaxTTL):
		return usagef("--ttl is %v, want 1s to %v", o.ttl, wire.MaxTTL)
	}
	if _, err := a.bootstrapPeers(); err != nil {
		return err
	}
	value, err := a.putValue(args[1:], o.file)
	if err != nil {
		return err
	}
	p, err := a.openProfile()
	if err != nil {
		return err
	}
	publisher, _, err := p.key()
	if err != nil {
		return err
	}

	return a.within(ctx, func(ctx context.Context) error {
		n, err := a.client(ctx)
		if err != nil {
			return err
		}
		defer n.Close()
		start := time.Now()
		stored, err := n.PutWith(ctx, key, value, node.PutOptions{
			Publisher: publisher,
			Quorum:    o.quorum,
			TTL:       o.ttl,
		})
		if errors.Is(err, node.ErrQuorum) && o.quorum == 0 {
			return errors.New(err.Error()) // nobody stored it; exit code 7 answers --quorum only
		}
		if err != nil {
			return err
		}
		a.object(struct {
			Key    routing.Key `json:"key"`
			Stored int         `json:"stored"`
			Of     int         `json:"of"`
			Bytes  int         `json:"bytes"`
			TookMS float64     `json:"took_ms"`
		}{stored.Key, stored.Count, stored.Of, len(value), ms(time.Since(start))})
		a.print("%v", stored)
		return nil
	})
}

// putValue reads the value to put: the argument, --file, or standard input.
func (a *app) putValue(args []string, file string) ([]byte, error) {
	switch {
	case len(args) > 0 && file != "":
		return nil, usagef("give VALUE or --file, not both")
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("value: %w", err)
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
