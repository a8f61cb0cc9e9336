package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/node"
)

// With KADQUIC_BE_CHAT the test is the program, so that it is run as its users do.
func TestMain(m *testing.M) {
	if os.Getenv("KADQUIC_BE_CHAT") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// patient is how long any step may take: a peer that is away is redialled twice a minute, and
// the machine may be busy.
const patient = 2 * time.Minute

const here = "--listen=/ip4/127.0.0.1/udp/0/quic-v1"

// A person types lines into a chat and reads its output.
type person struct {
	t     *testing.T
	chat  *chat       // nil in a separate process
	proc  *os.Process // nil within the test
	typed io.WriteCloser
	done  chan struct{} // closed at the end
	err   error         // then

	mu   sync.Mutex
	read bytes.Buffer
	seen int // bytes of it that want has passed
	more chan struct{}
}

func newPerson(t *testing.T) *person {
	return &person{t: t, done: make(chan struct{}), more: make(chan struct{})}
}

// join starts a chat within the test.
func join(t *testing.T, args ...string) *person {
	t.Helper()
	p := newPerson(t)
	var err error
	if p.chat, err = newChat(append([]string{"--ephemeral", here}, args...)); err != nil {
		t.Fatal(err)
	}
	in, typed := io.Pipe()
	p.typed = typed
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.err = p.chat.run(ctx, in, p)
		in.Close()
	}()
	t.Cleanup(func() { typed.Close(); cancel(); <-p.done })
	return p
}

// start runs the program itself.
func start(t *testing.T, args ...string) *person {
	t.Helper()
	return startAt(t, here, args...)
}

func startAt(t *testing.T, listen string, args ...string) *person {
	t.Helper()
	return startOn(t, exec.Command(os.Args[0], append([]string{listen}, args...)...))
}

func startOn(t *testing.T, cmd *exec.Cmd) *person {
	t.Helper()
	p := newPerson(t)
	cmd.Env = append(os.Environ(), "KADQUIC_BE_CHAT=1", "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
	cmd.Stdout, cmd.Stderr = p, p
	var err error
	if p.typed, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.proc = cmd.Process
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill(); <-p.done })
	return p
}

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.more)
	p.more = make(chan struct{})
	return p.read.Write(b)
}

// tail returns the end of the output, for failures.
func (p *person) tail() string {
	s := p.all()
	return s[max(0, len(s)-3000):]
}

func (p *person) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read.String()
}

func (p *person) say(lines ...string) {
	for _, l := range lines {
		io.WriteString(p.typed, l+"\n")
	}
}

// want waits for a line that matches, after those wanted before, and returns its first
// group.
func (p *person) want(re string) string {
	p.t.Helper()
	line := regexp.MustCompile("(?m)^" + re + "$")
	late := time.After(patient)
	for {
		p.mu.Lock()
		rest, more := p.read.String()[p.seen:], p.more
		if m := line.FindStringSubmatchIndex(rest); m != nil && m[1] < len(rest) { // a whole line
			p.seen += m[1]
			p.mu.Unlock()
			if len(m) > 2 {
				return rest[m[2]:m[3]]
			}
			return rest[m[0]:m[1]]
		}
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.done:
			if p.all()[p.seen:] == rest {
				p.t.Fatalf("the chat has ended (%v), and not told %q:\n%s", p.err, re, p.tail())
			}
		case <-late:
			p.t.Fatalf("no %q in\n%s", re, p.tail())
		}
	}
}

// rewind has want look at all lines again.
func (p *person) rewind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = 0
}

func (p *person) ticket() string { p.t.Helper(); return p.want(`(12D3KooW.*@/.*)`) }

// quit ends the chat as Ctrl-D does, and wants no error.
func (p *person) quit() {
	p.t.Helper()
	p.typed.Close()
	select {
	case <-p.done:
	case <-time.After(patient):
		p.t.Fatalf("does not end:\n%s", p.tail())
	}
	if p.err != nil {
		p.t.Errorf("%v\n%s", p.err, p.tail())
	}
}

// count is how many lines contain s.
func (p *person) count(s string) int { return strings.Count(p.all(), s) }

// network is a node that others join by.
func network(t *testing.T) (n *node.Node, bootstrap string) {
	t.Helper()
	n = newNode(t)
	return n, "--bootstrap=" + n.Addrs()[0].String()
}
