// Package console reads lines that a user types while other lines are shown.
package console

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ergochat/readline"
	"golang.org/x/term"
)

// A Console is a terminal with an editor for the line that is being typed, and a
// history of the lines before it; or, for scripts, a pair of pipes. Goroutines may
// share it; one at a time calls ReadLine.
type Console struct {
	out io.Writer
	in  *bufio.Reader // nil for a terminal

	editor  *readline.Instance // nil for pipes, as all below
	restore func() error       // leaves raw mode
	reading sync.Mutex         // held by ReadLine
	closed  atomic.Bool
	entered bool       // only in ReadLine: it holds mu
	mu      sync.Mutex // held while a line is shown, and while one is taken from the editor
}

// Open returns a console of in and out: a terminal if they are the program's standard
// input and output and both are terminals, otherwise pipes. [Console.Close] restores
// the terminal.
func Open(in io.Reader, out io.Writer) (*Console, error) {
	if in != os.Stdin || out != os.Stdout || !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return &Console{out: out, in: bufio.NewReader(in)}, nil
	}
	c := &Console{}
	screen := &screen{in: bufio.NewReader(in), out: out}
	editor, err := readline.NewFromConfig(&readline.Config{
		Prompt: "> ", InterruptPrompt: "\n", EOFPrompt: "\n", // \n: no text
		Stdin: screen, Stdout: screen, FuncFilterInputRune: c.filter,
	})
	if err != nil {
		return nil, err
	}
	// The editor would leave raw mode between two lines. Then the terminal would echo
	// pasted text, and turn its CRs into LFs.
	config := editor.GetConfig()
	makeRaw := config.FuncMakeRaw
	c.editor, c.out, c.restore = editor, editor, config.FuncExitRaw
	config.FuncMakeRaw = func() error { return nil }
	config.FuncExitRaw = config.FuncMakeRaw
	if err := errors.Join(editor.SetConfig(config), makeRaw()); err != nil {
		return nil, err
	}
	return c, nil
}

// IsTerminal reports whether the console is a terminal, so that a person reads it.
func (c *Console) IsTerminal() bool { return c.editor != nil }

// Write shows b, which is whole lines, above the line that is being typed.
func (c *Console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(b)
}

// ReadLine returns the next line, without its end. It returns io.EOF at the end of the
// input, which is Ctrl-D or Ctrl-C on a terminal, and after Close.
func (c *Console) ReadLine() (string, error) {
	if c.editor == nil {
		line, err := c.in.ReadString('\n')
		if line != "" {
			err = nil // the last line needs no end
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	line, err := c.editor.ReadLine()
	if c.entered {
		c.entered = false
		c.mu.Unlock()
	}
	if errors.Is(err, readline.ErrInterrupt) || c.closed.Load() { // the editor returns a line that was not entered
		return "", io.EOF
	}
	return line, err
}

// filter passes text and the control characters that the editor knows. The editor would take any
// other control character as text.
func (c *Console) filter(r rune) (rune, bool) {
	const obeyed = "\x01\x02\x03\x04\x05\x06\a\b\n\v\f\r\x0e\x10\x12\x13\x14\x15\x17\x19\x7f"
	switch {
	case r == '\r' || r == '\n':
		// The editor takes the line without its lock. Nothing must redraw it meanwhile.
		c.entered = true
		c.mu.Lock()
	case r == '\t':
		return ' ', true
	case r >= 0 && r < ' ' || r >= 0x7f && r < 0xa0: // negative: arrow keys and the like
		return r, strings.ContainsRune(obeyed, r)
	}
	return r, true
}

// Close ends ReadLine and restores the terminal: from then on Ctrl-C interrupts the
// program. Lines are still shown.
func (c *Console) Close() error {
	if c.editor == nil || c.closed.Swap(true) {
		return nil
	}
	err := c.editor.Close()
	c.reading.Lock() // ReadLine has taken the prompt away
	defer c.reading.Unlock()
	return errors.Join(err, c.restore())
}

// A screen is the terminal as the editor sees it. Before each line the editor asks in
// which column the cursor stands, and would wait without limit on a terminal that does
// not answer. A screen answers: in the first, because only whole lines are shown.
type screen struct {
	in    *bufio.Reader
	out   io.Writer
	asked atomic.Bool
}

const (
	whereIsCursor = "\x1b[6n" // ECMA-48 §8.3.35, DSR
	inColumnOne   = "\x1b[1;1R"
)

func (s *screen) Write(b []byte) (int, error) {
	if string(b) == whereIsCursor {
		s.asked.Store(true)
		return len(b), nil
	}
	return s.out.Write(b)
}

// Read returns one byte at a time, so that an answer never comes inside a key.
func (s *screen) Read(b []byte) (int, error) {
	if s.asked.Swap(false) {
		return copy(b, inColumnOne), nil
	}
	c, err := s.in.ReadByte()
	if err != nil {
		return 0, err
	}
	b[0] = c
	return 1, nil
}
