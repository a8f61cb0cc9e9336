package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/term"
)

// A screen is where lines are typed and shown: a terminal or, for scripts, pipes.
type screen struct {
	io.Writer                        // of whole lines; on a terminal, above the one being typed
	readLine  func() (string, error) // io.EOF at the end: Ctrl-D, Ctrl-C
	restore   func()                 // the terminal, to what it was
}

func newScreen(in io.Reader, out io.Writer) (screen, error) {
	i, _ := in.(*os.File)
	o, _ := out.(*os.File)
	if i == nil || o == nil || !term.IsTerminal(int(i.Fd())) || !term.IsTerminal(int(o.Fd())) {
		lines := bufio.NewScanner(in)
		return screen{out, func() (string, error) {
			if !lines.Scan() {
				return "", io.EOF
			}
			return lines.Text(), nil
		}, func() {}}, nil
	}
	state, err := term.MakeRaw(int(i.Fd()))
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "> ") // edits the line, and has the former ones on the arrow keys
	return screen{t, func() (string, error) {
		if w, h, err := term.GetSize(int(o.Fd())); err == nil {
			t.SetSize(w, h)
		}
		return t.ReadLine()
	}, sync.OnceFunc(func() {
		term.Restore(int(i.Fd()), state)
		t.SetPrompt("")
		io.WriteString(out, "\n")
	})}, err
}

var unquote = strings.NewReplacer(`\"`, `"`, `\\`, `\`)

// plain returns what somebody else wrote, max bytes of it, so that it can be shown:
// what a terminal would obey or hide (control characters, changes of the direction
// of writing, what is not UTF-8) is escaped as in Go.
func plain(s string, max int) string {
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	q := strconv.Quote(s)
	return unquote.Replace(q[1 : len(q)-1])
}
