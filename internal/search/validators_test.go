package search

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

func TestNamespaceOf(t *testing.T) {
	for name, want := range map[string]string{
		"/chat/room": "chat", "/chat/": "chat", "/a/b/c": "a", "/ä/x": "ä",
		"": "", "/": "", "//": "", "//x": "", "/chat": "", "chat/room": "", "x/chat/": "",
	} {
		if got := namespaceOf([]byte(name)); got != want {
			t.Errorf("namespace of %q is %q, want %q", name, got, want)
		}
	}
}

// A validator that never returns is waited for a second each time, MaxOverdue times.
func TestOverdueValidatorsAreBounded(t *testing.T) {
	never := make(chan struct{})
	var calls atomic.Int32
	rules := map[string]Rules{"chat": {Validate: func(*wire.Signed) error { calls.Add(1); <-never; return nil }}}
	inNetwork(t, 0, rules, func(t *testing.T, w *network) {
		never = make(chan struct{}) // of the bubble
		defer close(never)
		r := signed(t, 100, wire.Record{Kind: wire.KindOpen, Name: []byte("/chat/room")})
		start := time.Now()
		for range MaxOverdue + 5 {
			err := w.Verify(r, time.Now())
			if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrOverdue) || VerifyCode(err) != wire.CodeBusy {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); calls.Load() != MaxOverdue || took != MaxOverdue*time.Second {
			t.Errorf("%d calls in %v", calls.Load(), took)
		}
	})
}

// A panic of the application refuses the record, or leaves the order to wire.Better.
func TestPanicsOfTheApplication(t *testing.T) {
	rules := map[string]Rules{"chat": {
		Validate: func(*wire.Signed) error { panic("boo") },
		Prefer:   func(a, b Result) bool { panic("boo") },
	}}
	inNetwork(t, 0, rules, func(t *testing.T, w *network) {
		short := signed(t, 100, wire.Record{Kind: wire.KindOpen, Name: []byte("/chat/room")})
		long := signed(t, 101, wire.Record{Kind: wire.KindOpen, Name: []byte("/chat/room"), Expiry: time.Now().Add(2 * time.Hour)})
		if err := w.Verify(short, time.Now()); !errors.Is(err, ErrRefused) || VerifyCode(err) != wire.CodeInvalid {
			t.Errorf("verify: %v", err)
		}
		if !w.Validators.prefers(nil, Result{Record: long}, Result{Record: short}) || w.Validators.prefers(nil, Result{Record: short}, Result{Record: long}) {
			t.Error("wire.Better does not decide")
		}
	})
}
