// Package console reads lines that are typed, while others are shown.
package console

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// A Console is a terminal, on which lines are edited and the former ones are on the
// arrow keys; or, for scripts, a pair of pipes. Goroutines may share it.
type Console struct {
	io.Writer // shows what is written to it, in whole lines
	in        *bufio.Reader
	terminal  *term.Terminal // nil for pipes
	restore   func()
}

// Open makes a console of in and out: a terminal, if they are the program's own and it
// has one. [Console.Close] gives that back as it was.
func Open(in io.Reader, out io.Writer) (*Console, error) {
	fd, outFd := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if in != os.Stdin || out != os.Stdout || !term.IsTerminal(fd) || !term.IsTerminal(outFd) {
		return &Console{Writer: out, in: bufio.NewReader(in), restore: func() {}}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "> ")
	return &Console{Writer: t, terminal: t, restore: sync.OnceFunc(func() {
		term.Restore(fd, state)
		t.SetPrompt("")
		io.WriteString(out, "\n")
	})}, nil
}

// ReadLine returns the next line, without its end. At the end of the input, which Ctrl-D
// and Ctrl-C are on a terminal, it is io.EOF.
func (c *Console) ReadLine() (string, error) {
	if c.terminal != nil {
		if w, h, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			c.terminal.SetSize(w, h) // it may have been resized
		}
		return c.terminal.ReadLine()
	}
	line, err := c.in.ReadString('\n')
	if line != "" {
		err = nil // the last needs no end
	}
	return strings.TrimRight(line, "\r\n"), err
}

// Close restores the terminal: from then on Ctrl-C interrupts. Lines are still shown.
func (c *Console) Close() error {
	c.restore()
	return nil
}
