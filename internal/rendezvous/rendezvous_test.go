package rendezvous

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	tea       = routing.KeyOf("tea")
	errClosed = errors.New("closed")
	errCutOff = errors.New("cut off")
)

// A fakeHost provides keys to no network, and finds the peers that it is given.
type fakeHost struct {
	mu       sync.Mutex
	err      error // of Provide and Providers
	closed   chan struct{}
	provided map[routing.Key]bool
	provides int // calls of Provide
	peers    []wire.PeerID
	searched []time.Time
	closes   bool  // Provide closes the node
	silent   bool  // Providers yields nothing
	stopCtx  error // of the context of the latest StopProviding
}

func (h *fakeHost) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *fakeHost) Done() <-chan struct{} { return h.closed }

func (h *fakeHost) Err() error {
	select {
	case <-h.closed:
		return errClosed
	default:
		return nil
	}
}

func (h *fakeHost) IsProvided(key routing.Key) (is bool) {
	h.locked(func() { is = h.provided[key] })
	return is
}

func (h *fakeHost) Provide(_ context.Context, key routing.Key) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.provides++
	if h.closes {
		close(h.closed)
	}
	h.provided[key] = h.err == nil
	return h.err
}

func (h *fakeHost) StopProviding(ctx context.Context, key routing.Key) error {
	h.locked(func() { h.provided[key], h.stopCtx = false, ctx.Err() })
	return nil
}

func (h *fakeHost) Providers(context.Context, routing.Key) iter.Seq2[wire.PeerID, error] {
	return func(yield func(wire.PeerID, error) bool) {
		h.mu.Lock()
		h.searched = append(h.searched, time.Now())
		peers, err := slices.Clone(h.peers), h.err
		h.mu.Unlock()
		switch {
		case h.silent:
			return
		case err != nil:
			yield(wire.PeerID{}, err)
			return
		}
		for _, id := range peers {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// attend attends at tea until leave is called.
func attend(t *testing.T, k *Keys) (leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range k.Attend(ctx, tea) {
		}
	}()
	synctest.Wait()
	return func() { cancel(); <-ended }
}

func testKeys(t *testing.T, f func(t *testing.T, k *Keys, h *fakeHost)) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{closed: make(chan struct{}), provided: make(map[routing.Key]bool)}
		k := New(h)
		f(t, k, h)
		if len(k.of) > 0 {
			t.Errorf("%d keys are left", len(k.of))
		}
	})
}

// Peers are looked for after one second, two, four and so on, then every thirty seconds.
func TestAttendSearchesAgainAndAgain(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		h.peers = []wire.PeerID{{1}, {2}}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		met := 0
		for id, err := range k.Attend(ctx, tea) {
			if err != nil || id != h.peers[met%2] {
				t.Errorf("meets %v, %v", id, err)
			}
			met++
		}
		var after []int
		for _, at := range h.searched {
			after = append(after, int(at.Sub(began).Seconds()))
		}
		if want := []int{0, 1, 3, 7, 15, 31, 61, 91}; !slices.Equal(after, want) || met != 2*len(want) || h.provides != 1 {
			t.Errorf("searches after %v seconds, want %v; %d peers are met, and the key is provided %d times", after, want, met, h.provides)
		}
		if h.provided[tea] || h.stopCtx != nil {
			t.Errorf("the key is provided still, or its retraction was given no time: %v", h.stopCtx)
		}
	})
}

func TestBreakingOffStopsProviding(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		h.peers = []wire.PeerID{{1}}
		for range k.Attend(t.Context(), tea) {
			if !h.provided[tea] {
				t.Error("the key is not provided")
			}
			break
		}
		if h.provided[tea] {
			t.Error("the key is provided still")
		}
	})
}

// Attend takes back only what it began: not what the program provides by itself, before it or
// during it, nor what another Attend still needs.
func TestAttendTakesBackOnlyItsOwn(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		provided := func(what string, want bool) {
			t.Helper()
			if h.IsProvided(tea) != want {
				t.Errorf("%s: provided is %v, want %v", what, !want, want)
			}
		}
		attend(t, k)()
		provided("the only one has left", false)
		first, last := attend(t, k), attend(t, k)
		first()
		provided("one of two has left", true)
		last()
		provided("both have left", false)
		leave := attend(t, k)
		k.Keep(tea)
		k.Keep(routing.KeyOf("coffee"))
		leave()
		provided("the program has provided it meanwhile", true)
		attend(t, k)()
		provided("the program had provided it before", true)
	})
}

// After an error Attend tries again, until the node is closed.
func TestAttendTellsOfErrorsAndGoesOn(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		h.err = errCutOff
		var told []error
		for id, err := range k.Attend(t.Context(), tea) {
			told = append(told, err)
			switch {
			case err == nil && id == wire.PeerID{1}:
				close(h.closed)
			case id != wire.PeerID{}:
				t.Errorf("an error comes with %v", id)
			}
			if len(told) == 4 { // providing and searching, twice
				h.locked(func() { h.err, h.peers = nil, []wire.PeerID{{1}} })
			}
		}
		if want := []error{errCutOff, errCutOff, errCutOff, errCutOff, nil, errClosed}; !slices.Equal(told, want) {
			t.Errorf("it tells %v, want %v", told, want)
		}
	})
}

func TestEndOfContextIsNoError(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h.err = errCutOff
		told := 0
		for range k.Attend(ctx, tea) {
			told++
			cancel()
		}
		if told != 1 {
			t.Errorf("%d errors, want only the one before the end", told)
		}
	})
}

// A node that closes is told of once, at once.
func TestCloseEndsAttend(t *testing.T) {
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		began := time.Now()
		time.AfterFunc(20*time.Second, func() { close(h.closed) })
		for id, err := range k.Attend(t.Context(), tea) {
			if took := time.Since(began); took != 20*time.Second || !errors.Is(err, errClosed) {
				t.Errorf("after %v it yields %v, %v", took, id, err)
			}
		}
	})
	testKeys(t, func(t *testing.T, k *Keys, h *fakeHost) {
		h.closes, h.err, h.silent = true, errCutOff, true
		var told []error
		for _, err := range k.Attend(t.Context(), tea) {
			told = append(told, err)
		}
		if !slices.Equal(told, []error{errClosed}) {
			t.Errorf("it tells %v", told)
		}
	})
}
