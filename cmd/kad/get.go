package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) getCommand() *cobra.Command {
	var (
		key    keyFlags
		out    string
		quorum int
	)
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Find a value in a network",
		Long: `Get finds the value stored under KEY and writes its bytes to standard output,
unchanged, and nothing else there. No such value: exit code 3.`,
		Example: `  kad get --bootstrap $ADDR greeting
  kad get --bootstrap $ADDR photo -o photo.jpg`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := key.parse(args[0])
			if err != nil {
				return err
			}
			if quorum < 0 {
				return usagef("--quorum is %d, want at least 0", quorum)
			}
			return a.within(cmd.Context(), func(ctx context.Context) error {
				return a.get(ctx, args[0], k, out, quorum)
			})
		},
	}
	key.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the value to this `FILE` instead, once it is found")
	cmd.Flags().IntVar(&quorum, "quorum", 0, "ask until this `NUMBER` of nodes gave the value, and take the newest (default the first found)")
	return cmd
}

func (a *app) get(ctx context.Context, name string, key routing.Key, out string, quorum int) error {
	n, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	start := time.Now()
	value, err := n.GetWith(ctx, key, node.GetOptions{Quorum: quorum})
	if err != nil {
		return getError(name, err)
	}
	a.object(newValueJSON(key, value, time.Since(start)))
	switch {
	case out != "" && out != "-":
		if err := replaceFile(out, value.Data); err != nil {
			return err
		}
		if !a.json {
			a.note("%d bytes written to %s", len(value.Data), out)
		}
	case !a.json:
		return a.show(value.Data)
	}
	return nil
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
		return fmt.Errorf("%s: %w", printable(name), node.ErrNotFound)
	}
	return err
}

// A valueJSON is a value found, as --json prints it. Values are bytes: Value is
// base64; Text is there when they are UTF-8.
type valueJSON struct {
	Key       routing.Key `json:"key"`
	Value     []byte      `json:"value"`
	Text      string      `json:"text,omitempty"`
	Publisher wire.PeerID `json:"publisher"`
	Seq       uint64      `json:"seq"`
	Expiry    time.Time   `json:"expiry"`
	TookMS    float64     `json:"took_ms"`
}

func newValueJSON(key routing.Key, v node.Value, d time.Duration) valueJSON {
	j := valueJSON{key, v.Data, "", v.Publisher, v.Seq, v.Expiry.UTC(), ms(d)}
	if utf8.Valid(v.Data) {
		j.Text = string(v.Data)
	}
	return j
}

// replaceFile writes a whole file or leaves the old one: what is at path is
// never half a value.
func replaceFile(path string, data []byte) error {
	err := replace(path, data)
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err // the path in it may be that of the temporary file
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
	defer os.Remove(f.Name()) // in vain once it was renamed
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
