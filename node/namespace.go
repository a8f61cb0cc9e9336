package node

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Namespace is what an application demands of the records whose names begin
// "/NAME/", as "/chat/room": see Config.Namespaces. Owned and open records have
// names. Every node of the network should have the same rules: this one holds
// and believes by its own.
type Namespace struct {
	// Validate returns an error if a record may not be stored here, nor be
	// believed when somebody has it. If nil, any may. It is called from any
	// number of goroutines, must not change the value, and must not block: a
	// record on which it takes over a second, or panics, is refused.
	Validate func(Value) error

	// Better decides which of several publishers' records a get returns, unless
	// GetOptions.Selector does. If nil, the one that lives longest.
	Better Selector
}

// A Selector reports whether a is to be preferred to b, which is of another
// publisher. It must be an order. Unless GetOptions.Quorum ends the get before, it
// sees the records of all publishers that the k nearest hold. One that panics is
// passed over.
type Selector func(a, b Value) bool

// ErrRefused says that the rules of its namespace do not allow a record.
var ErrRefused = errors.New("refused by the rules of namespace")

// errNoResult says that no verdict came in time.
var errNoResult = errors.New("no verdict in time")

const (
	validateTime = time.Second // for one verdict
	maxOverdue   = 64          // verdicts overdue, of one namespace, beyond which none is asked for
)

// namespaceOf returns NAME where a name begins "/NAME/", else "".
func namespaceOf(name []byte) string {
	if len(name) == 0 || name[0] != '/' {
		return ""
	}
	if i := bytes.IndexByte(name[1:], '/'); i > 0 {
		return string(name[1 : 1+i])
	}
	return ""
}

// A validator applies the rules of one namespace to what peers send. Goroutines
// share it.
type validator struct {
	name    string
	rules   Namespace
	overdue atomic.Int32 // verdicts that have not come in time, nor since
}

// newValidators makes one for each namespace of a Config.
func newValidators(spaces map[string]Namespace) (map[string]*validator, error) {
	all := make(map[string]*validator, len(spaces))
	for name, rules := range spaces {
		if name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("node: namespace %q, want a name without slashes", name)
		}
		all[name] = &validator{name: name, rules: rules}
	}
	return all, nil
}

// validate returns an error unless the rules of its namespace allow a record.
func (n *Node) validate(r *wire.Signed) error {
	if len(n.validators) == 0 || len(r.Record.Name) == 0 {
		return nil
	}
	c := n.validators[namespaceOf(r.Record.Name)]
	if c == nil || c.rules.Validate == nil {
		return nil
	}
	err := c.run(searchResult{record: r}.value())
	if p, ok := errors.AsType[*panicError](err); ok {
		n.config.Logger.Error("a validator panicked", "namespace", c.name, "key", r.Record.Key, "panic", p.value, "stack", p.stack)
	}
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrRefused, c.name, err)
	}
	return nil
}

// run asks the validator, in a goroutine of its own: one that blocks must
// not hold up a peer's requests, nor Close.
func (c *validator) run(v Value) error {
	if c.overdue.Load() >= maxOverdue {
		return errNoResult
	}
	verdict := make(chan error, 1)
	go func() { verdict <- c.call(v) }()
	timer := time.NewTimer(validateTime)
	defer timer.Stop()
	select {
	case err := <-verdict:
		return err
	case <-timer.C:
	}
	c.overdue.Add(1)
	go func() {
		<-verdict
		c.overdue.Add(-1)
	}()
	return errNoResult
}

// call calls the validator.
func (c *validator) call(v Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("%q", fmt.Sprint(p)), string(debug.Stack())}
		}
	}()
	return c.rules.Validate(v)
}

// A panicError is a panic in what an application gave us to call.
type panicError struct{ value, stack string }

func (e *panicError) Error() string { return "panic: " + e.value }

// prefers reports whether a is preferred to b, of another publisher: by the
// selector, else by the namespace they share, else as wire.Better has it.
func (n *Node) prefers(s Selector, a, b searchResult) bool {
	if s == nil && len(n.validators) > 0 {
		name := namespaceOf(a.record.Record.Name)
		if c := n.validators[name]; c != nil && name == namespaceOf(b.record.Record.Name) {
			s = c.rules.Better
		}
	}
	if s == nil {
		return wire.Better(a.record, b.record)
	}
	better, err := trySelector(s, a.value(), b.value())
	if err != nil {
		n.config.Logger.Error("a selector panicked", "key", a.record.Record.Key, "panic", err.value, "stack", err.stack)
		return wire.Better(a.record, b.record)
	}
	return better
}

func trySelector(s Selector, a, b Value) (better bool, err *panicError) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{fmt.Sprintf("%q", fmt.Sprint(p)), string(debug.Stack())}
		}
	}()
	return s(a, b), nil
}

// hasBetter reports whether the namespace of a name has an order of its own.
func (n *Node) hasBetter(name []byte) bool {
	c := n.validators[namespaceOf(name)]
	return c != nil && c.rules.Better != nil
}
