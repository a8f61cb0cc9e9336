package search

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Rules are what an application demands of the records of one namespace: those whose
// names begin "/NAME/".
type Rules struct {
	// Validate returns an error if a record may be neither stored nor believed. If nil, all
	// are valid.
	Validate func(*wire.Signed) error

	// Prefer reports whether a get returns a rather than b, which is of another publisher.
	// If nil, wire.Better decides.
	Prefer func(a, b Result) bool
}

var (
	// ErrRefused says that the rules of its namespace do not allow a record.
	ErrRefused = errors.New("node: refused by the rules of namespace") // node.ErrRefused

	// ErrOverdue says that a validator has not returned in time.
	ErrOverdue = errors.New("no verdict in time")
)

const (
	validateTimeout = time.Second // of one call of Validate
	MaxOverdue      = 64          // overdue calls per namespace, beyond which Validate is not called
)

// Validators apply the rules of namespaces to records. Make them with NewValidators.
// Goroutines may share them.
type Validators struct {
	log *slog.Logger
	of  map[string]*validator // by namespace
}

// A validator applies the rules of one namespace.
type validator struct {
	rules   Rules
	overdue atomic.Int32 // calls of Validate that have not returned, though their time is over
}

// NewValidators makes a validator for each namespace.
func NewValidators(spaces map[string]Rules, log *slog.Logger) (*Validators, error) {
	vs := &Validators{log, make(map[string]*validator, len(spaces))}
	for name, rules := range spaces {
		if name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("namespace %q, want a name without slashes", name)
		}
		vs.of[name] = &validator{rules: rules}
	}
	return vs, nil
}

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

// Validate returns an error unless the rules of its namespace allow a record.
func (vs *Validators) Validate(r *wire.Signed) error {
	if len(vs.of) == 0 || len(r.Record.Name) == 0 {
		return nil
	}
	space := namespaceOf(r.Record.Name)
	v := vs.of[space]
	if v == nil || v.rules.Validate == nil {
		return nil
	}
	err := v.validate(r)
	if p, ok := errors.AsType[*panicError](err); ok {
		vs.log.Error("a validator panicked", "namespace", space, "key", r.Record.Key, "panic", p.value, "stack", p.stack)
	}
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrRefused, space, err)
	}
	return nil
}

// validate calls Rules.Validate in another goroutine, because a validator that blocks must
// hold up neither a peer's requests nor Close.
func (v *validator) validate(r *wire.Signed) error {
	if v.overdue.Load() >= MaxOverdue {
		return ErrOverdue
	}
	result := make(chan error, 1)
	go func() { result <- v.call(r) }()
	timer := time.NewTimer(validateTimeout)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
	}
	v.overdue.Add(1)
	go func() {
		<-result
		v.overdue.Add(-1)
	}()
	return ErrOverdue
}

func (v *validator) call(r *wire.Signed) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
	}()
	return v.rules.Validate(r)
}

// A panicError is a panic in a function of the application.
type panicError struct{ value, stack string }

func newPanicError(p any) *panicError {
	return &panicError{fmt.Sprintf("%q", fmt.Sprint(p)), string(debug.Stack())}
}

func (e *panicError) Error() string { return "panic: " + e.value }

// prefers reports whether a is preferred to b, which is of another publisher. The given order
// decides; without one, the order of the namespace that they share; without that, wire.Better.
func (vs *Validators) prefers(prefer func(a, b Result) bool, a, b Result) bool {
	if prefer == nil && len(vs.of) > 0 {
		space := namespaceOf(a.Record.Record.Name)
		if v := vs.of[space]; v != nil && space == namespaceOf(b.Record.Record.Name) {
			prefer = v.rules.Prefer
		}
	}
	if prefer == nil {
		return wire.Better(a.Record, b.Record)
	}
	better, err := callPrefer(prefer, a, b)
	if err != nil {
		vs.log.Error("a selector panicked", "key", a.Record.Record.Key, "panic", err.value, "stack", err.stack)
		return wire.Better(a.Record, b.Record)
	}
	return better
}

func callPrefer(prefer func(a, b Result) bool, a, b Result) (better bool, err *panicError) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
	}()
	return prefer(a, b), nil
}

// hasOrder reports whether the namespace of a name has rules that prefer records.
func (vs *Validators) hasOrder(name []byte) bool {
	v := vs.of[namespaceOf(name)]
	return v != nil && v.rules.Prefer != nil
}
