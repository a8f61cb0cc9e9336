package traversal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A call that failed with the connection to its relay is repeated once, with a new offer: a
// callee accepts each offer once.
func TestCallIsRepeatedOnceWithANewOffer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		bob := idOf(testKey(7))
		w.client.retry = func(err error) bool { return errors.Is(err, errFake) }
		signalled := 0
		if err := w.Call(t.Context(), bob, w.relay.ID(), func() { signalled++ }); !errors.Is(err, errFake) {
			t.Errorf("the call: %v", err)
		}
		if signalled != 1 {
			t.Errorf("onSent was called %d times", signalled)
		}
		if len(w.client.offers) != 2 {
			t.Fatalf("%d offers were sent, want 2", len(w.client.offers))
		}
		first, err1 := wire.ParseCandidateOffer(w.client.offers[0])
		second, err2 := wire.ParseCandidateOffer(w.client.offers[1])
		if err1 != nil || err2 != nil || first.Key == second.Key {
			t.Errorf("the offers: %v, %v; the same key: %t", err1, err2, first.Key == second.Key)
		}
	})
}

// Dial fails as soon as the calls through all relays have failed, with the reason of each.
func TestDialFailsWithTheLastRelay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relays := make(chan wire.PeerID, MaxRelays)
		for i := range MaxRelays {
			relays <- wire.PeerID{2, byte(i)}
		}
		start := time.Now()
		c, err := w.Dial(t.Context(), idOf(testKey(7)), start, relays)
		if c != nil || !errors.Is(err, errFake) {
			t.Errorf("dialled %v, %v", c, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("failed after %v", took)
		}
		if got := len(w.client.offers); got != MaxRelays {
			t.Errorf("%d calls, want %d", got, MaxRelays)
		}
	})
}

// While a relay does not answer, Dial tries the next one after callStagger.
func TestDialStaggersCalls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		start := time.Now()
		var after []time.Duration
		w.client.answer = func([]byte) (wire.Called, error) {
			w.client.mu.Lock()
			after = append(after, time.Since(start))
			w.client.mu.Unlock()
			<-w.group.Context().Done()
			return wire.Called{}, errFake
		}
		relays := make(chan wire.PeerID, 2)
		relays <- wire.PeerID{2, 1}
		relays <- wire.PeerID{2, 2}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := w.Dial(ctx, idOf(testKey(7)), start, relays); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the dial: %v", err)
		}
		w.client.mu.Lock()
		defer w.client.mu.Unlock()
		if len(after) != 2 || after[0] != 0 || after[1] != callStagger {
			t.Errorf("calls after %v, want 0 and %v", after, callStagger)
		}
	})
}
