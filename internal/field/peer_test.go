package field

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// A peer is a program that runs on a host of a lab. Goroutines may share it.
type peer struct {
	*natlab.Host
	ID string

	t       *testing.T
	errs    tail
	kill    context.CancelFunc
	crashed bool          // by the test
	ended   chan struct{} // closed when it has
	result  error         // of the program; valid then

	mu      sync.Mutex
	in      io.WriteCloser
	orders  int
	waiting map[int]chan said
}

// start runs a program on a host, and returns when it has joined the network. It ends
// with the test.
func start(t *testing.T, h *natlab.Host, s setting) *peer {
	t.Helper()
	p, err := launch(t, h, s)
	if err != nil {
		t.Fatalf("%s: %v", h.Name(), err)
	}
	return p
}

func launch(t *testing.T, h *natlab.Host, s setting) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.Trace = s.Trace || *trace
	text, _ := json.Marshal(s)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Command(ctx, self)
	cmd.Env = append(os.Environ(), settingVariable+"="+string(text))
	p := &peer{Host: h, t: t, kill: cancel, ended: make(chan struct{}), waiting: make(map[int]chan said)}
	cmd.Stderr = &p.errs
	if *trace {
		p.errs.also = prefixer{t, h.Name()}
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		p.in, err = cmd.StdinPipe()
	}
	ready := p.expect(0)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() && p.errs.String() != "" {
			t.Logf("%s said last:\n%s", h.Name(), p.errs.String())
		}
		p.end()
	})
	go func() {
		defer close(p.ended)
		p.listen(out)
		p.result = cmd.Wait()
	}()
	var hello state
	if err := p.await(t.Context(), ready, &hello); err != nil {
		return nil, fmt.Errorf("it does not start: %w\n%s", err, p.errs.String())
	}
	p.ID = hello.ID
	return p, nil
}

// end ends the program, as its user would. A program that panicked, or in which the race
// detector found a race, fails the test.
func (p *peer) end() {
	p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.Name())
		p.crash()
	}
	if p.result != nil && !p.crashed {
		p.t.Errorf("%s ended with %v:\n%s", p.Name(), p.result, p.errs.String())
		p.crashed = true // already reported
	}
	p.kill()
}

// crash ends it as a power failure would.
func (p *peer) crash() {
	p.crashed = true
	p.kill()
	<-p.ended
}

// listen reads the lines of the program.
func (p *peer) listen(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var s said
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			continue
		}
		p.mu.Lock()
		if c := p.waiting[s.N]; c != nil {
			delete(p.waiting, s.N)
			c <- s
		}
		p.mu.Unlock()
	}
}

func (p *peer) expect(n int) chan said {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan said, 1)
	p.waiting[n] = c
	return c
}

func (p *peer) await(ctx context.Context, reply chan said, result any) error {
	select {
	case s := <-reply:
		if s.Err != "" {
			return errors.New(s.Err)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(s.Result, result)
	case <-p.ended:
		return errors.New("the program has ended")
	case <-time.After(2 * patience):
		return errors.New("no answer")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do gives an order and waits for its result.
func (p *peer) do(o order, result any) error {
	p.mu.Lock()
	p.orders++
	o.N = p.orders
	p.mu.Unlock()
	reply := p.expect(o.N)
	line, _ := json.Marshal(o)
	p.mu.Lock()
	_, err := p.in.Write(append(line, '\n'))
	p.mu.Unlock()
	if err == nil {
		err = p.await(p.t.Context(), reply, result)
	}
	if err != nil {
		return fmt.Errorf("%s, told to %s: %w", p.Name(), o.Do, err)
	}
	return nil
}

// must gives an order that cannot fail.
func (p *peer) must(o order, result any) {
	p.t.Helper()
	if err := p.do(o, result); err != nil {
		p.t.Fatal(err)
	}
}

// state returns the node's state.
func (p *peer) state() state {
	p.t.Helper()
	var s state
	p.must(order{Do: "state"}, &s)
	return s
}

// settled waits until the node's state meets a condition.
func (p *peer) settled(what string, suits func(state) bool) {
	p.t.Helper()
	var s state
	if !holds(func() bool { s = p.state(); return suits(s) }) {
		p.t.Fatalf("not within %v: %s: %s; it is %+v", patience, p.Name(), what, s)
	}
}

// holds waits for a condition, and reports whether it became true.
func holds(f func() bool) bool {
	for deadline := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// A tail keeps the last bytes that are written to it. Goroutines may share it.
type tail struct {
	also io.Writer

	mu   sync.Mutex
	text []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.also != nil {
		w.also.Write(b)
	}
	w.text = append(w.text, b...)
	w.text = w.text[max(0, len(w.text)-4<<10):]
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.text))
}

// A prefixer logs lines under a name.
type prefixer struct {
	t    *testing.T
	name string
}

func (w prefixer) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		w.t.Logf("%s %s: %s", time.Now().Format("05.000"), w.name, strings.TrimSpace(line))
	}
	return len(b), nil
}
