package traversal

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/wire"
)

// A function that a session has run counts as run, even if the session has ended since.
func TestDoReportsWhatRanBeforeTheEnd(t *testing.T) {
	for range 1000 {
		s := &session{calls: make(chan func(time.Time), 1), ended: make(chan struct{})}
		go func() {
			f := <-s.calls
			f(time.Now())
			close(s.ended)
		}()
		ran := false
		if !s.do(func(time.Time) { ran = true }) || !ran {
			t.Fatal("do reports that the function did not run")
		}
	}
}

// A checklist that is dropped twice, because there were too many and because its call
// failed, does not change the count of the others that wait for an answer.
func TestChecklistEndsOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		now := time.Now()
		checklists := make([]*checklist, maxChecklists+1)
		err := w.do(wire.PeerID{1}, wire.PeerID{}, func(s *session, _ time.Time) {
			for i := range checklists {
				checks, err := punch.NewCaller(punch.Config{Caller: [32]byte{byte(i)}, Rand: randomUint64}, now, now, nil)
				if err != nil {
					t.Error(err)
					return
				}
				checklists[i] = &checklist{checks: checks, began: now}
				s.addChecklist(checklists[i])
			}
			s.dropChecklist(checklists[0]) // adding the last one has dropped it
			if got := w.keyless[s]; got != maxChecklists || len(s.checklists) != maxChecklists {
				t.Errorf("%d of %d checklists wait for an answer, want %d", got, len(s.checklists), maxChecklists)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Inbound calls leave room for outbound calls, and those through one relay leave room for
// those through another.
func TestInboundCallsLeaveRoom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		peer := func(i int) wire.PeerID { return wire.PeerID{1, byte(i), byte(i >> 8)} }
		relay := func(i int) wire.PeerID { return wire.PeerID{2, byte(i)} }
		calls := 0
		for r := range MaxRelays {
			for range maxUnconnected {
				if !w.hasRoomFor(peer(calls), relay(r)) {
					t.Fatalf("no room for caller %d", calls)
				}
				if _, err := w.session(peer(calls), relay(r)); err != nil {
					t.Fatal(err)
				}
				calls++
			}
			if w.hasRoomFor(peer(calls), relay(r)) {
				t.Errorf("relay %d passes on more calls than its share", r)
			}
		}
		if w.hasRoomFor(peer(calls), relay(9)) || !w.hasRoomFor(peer(0), relay(0)) {
			t.Error("room for another new caller, or none for a caller with a session")
		}
		if _, err := w.session(peer(calls), wire.PeerID{}); err != nil {
			t.Errorf("an outbound call: %v", err)
		}
		time.Sleep(2 * idleLife)
		synctest.Wait()
		if left := w.Len(); left > 0 {
			t.Errorf("%d entries of sessions are left", left)
		}
	})
}
