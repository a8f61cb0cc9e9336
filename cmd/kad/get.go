package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A getOptions is the command line of get.
type getOptions struct {
	subject subjectFlags
	out     string
	quorum  int
	all     bool
}

func (a *app) getCommand() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use: `get KEY
  kad get --kind owned --name NAME [--publisher PEERID]`,
		Short: "Find a value in a network",
		Long: `Get finds the value stored under KEY and writes its bytes to standard output,
unchanged, and nothing else there. No such value: exit code 3.

Several publishers may have a value each under one KEY. Get takes the first it
finds; with --all it asks every node near KEY and prints one line for each
publisher: its peer ID and its newest value, quoted if it is not plain text.

With --quorum the value is printed even if fewer nodes gave one; then the exit
code is 7, for there may be a newer value.

` + subjectHelp,
		Example: `  kad get greeting
  kad get photo -o photo.jpg
  kad get --all guestbook
  kad get --kind owned --name status --publisher 12D3KooW…
  kad get --kind content 3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392
  kad get --bootstrap $ADDR greeting`,
		Args: takes(0, 1, "one KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.subject.parse(a, args)
			switch {
			case err != nil:
				return err
			case o.quorum < 0:
				return usagef("--quorum is %d, want at least 0", o.quorum)
			case o.all && o.quorum > 0:
				return usagef("give --all or --quorum, not both: --all asks every node near KEY")
			case o.all && o.out != "":
				return usagef("give --all or --output, not both: --all is a line for each publisher")
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.get(ctx, s, o)
			})
		},
	}
	o.subject.add(cmd, true)
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "write the value to this `FILE` instead, once it is found")
	cmd.Flags().IntVar(&o.quorum, "quorum", 0, "ask until this `NUMBER` of nodes gave the value, and take the newest (default the first found; of an owned record 3)")
	cmd.Flags().BoolVar(&o.all, "all", false, "the values of all publishers, a line each")
	return cmd
}

func (a *app) get(ctx context.Context, s subject, o getOptions) error {
	api, done, err := a.api(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	start := time.Now()
	g := control.Get{Kind: s.kind, Key: s.key, Name: s.name, Quorum: o.quorum}
	if o.all {
		return a.getAll(api.Values(ctx, g), s, start)
	}
	value, err := api.Get(ctx, g)
	if value.Kind == 0 {
		return getError(s.text, err)
	}
	if err := a.gotten(value, o, start); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: this value was found, but there may be a newer one: %w", wire.Printable(s.text), err)
	}
	if value.Answers < o.quorum {
		return &fewError{s.text, value.Answers, o.quorum}
	}
	return nil
}

// A fewError says that a value was found, on fewer nodes than asked.
type fewError struct {
	what         string
	nodes, asked int
}

func (e *fewError) Error() string {
	return fmt.Sprintf("%s: this value was found, but %s of the %d that --quorum asks gave one, and there may be a newer one", wire.Printable(e.what), plural(e.nodes, "node"), e.asked)
}

func (e *fewError) Is(target error) bool { return target == node.ErrQuorum }

// gotten shows the value found.
func (a *app) gotten(value control.Value, o getOptions, start time.Time) error {
	a.object(newValueJSON(value, time.Since(start)))
	switch {
	case o.out != "" && o.out != "-":
		if err := replaceFile(o.out, value.Data); err != nil {
			return err
		}
		if !a.json {
			a.note("%d bytes written to %s", len(value.Data), o.out)
		}
	case !a.json:
		return a.show(value.Data)
	}
	return nil
}

// getAll prints the newest value of each publisher, when all are known.
func (a *app) getAll(found iter.Seq2[control.Value, error], s subject, start time.Time) error {
	var order []wire.PeerID
	newest := make(map[wire.PeerID]control.Value)
	var failed error
	for v, err := range found {
		if err != nil {
			failed = err // what was found is told all the same
			break
		}
		old, ok := newest[v.Publisher]
		if !ok {
			order = append(order, v.Publisher)
		}
		if !ok || v.Seq > old.Seq || v.Seq == old.Seq && v.Expiry.After(old.Expiry) {
			newest[v.Publisher] = v
		}
	}
	d := time.Since(start)
	for _, id := range order {
		v := newest[id]
		a.object(newValueJSON(v, d))
		a.print("%s  %s", id, wire.Printable(string(v.Data)))
	}
	if failed != nil && len(order) > 0 {
		return fmt.Errorf("%s may have more: %w", wire.Printable(s.text), failed)
	}
	return getError(s.text, failed)
}

// show writes a value to standard output, unchanged. On a terminal, which some
// bytes can be made to command, only text goes as it is; it gets the line's end
// it may lack.
func (a *app) show(value []byte) error {
	if isTerminal(a.out) {
		if !isText(value) {
			a.note("The value is not plain text, so here it is quoted; -o FILE or a pipe gets its bytes.")
			value = strconv.AppendQuote(nil, string(value))
		}
		if !bytes.HasSuffix(value, []byte("\n")) {
			value = append(value, '\n')
		}
	}
	_, err := a.out.Write(value)
	return err
}

// isText reports whether b is text that a terminal shows as it stands.
func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r != '\n' && r != '\t' && !strconv.IsPrint(r)
	})
}

// getError calls a key that holds no value by the name the user gave it, not by
// its hash.
func getError(name string, err error) error {
	if errors.Is(err, node.ErrNotFound) {
		return fmt.Errorf("%s: %w", wire.Printable(name), node.ErrNotFound)
	}
	return err
}

// A valueJSON is a value found, as --json prints it. Values are bytes: value is
// base64; text is there when they are UTF-8.
type valueJSON struct {
	control.Value
	TookMS float64 `json:"took_ms"`
}

func newValueJSON(v control.Value, d time.Duration) valueJSON { return valueJSON{v, ms(d)} }

// replaceFile replaces the file at path as a whole or not at all: path never holds
// half a value.
func replaceFile(path string, data []byte) error {
	err := replace(path, data)
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err // its path may be the temporary file's
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func replace(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, data, 0o644) // a device or pipe: nothing to replace
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".kad-get-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
