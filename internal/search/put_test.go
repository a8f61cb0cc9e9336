package search

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func TestPutStoresOnTheKNearest(t *testing.T) {
	inNetwork(t, 8, nil, func(t *testing.T, w *network) {
		w.isServer = false
		r := open(t, 100, routing.KeyOf("x"), 1)
		st, err := w.Put(t.Context(), r, 0)
		if err != nil || st.Count != 4 || st.Of != 4 || st.Alone || len(st.Causes) > 0 {
			t.Errorf("%+v, %v", st, err)
		}
		if held := w.holders(r); !slices.Equal(held, []int{0, 1, 2, 3}) {
			t.Errorf("held at %v, want the four nearest", held)
		}
	})
}

// A peer that refuses is one of the nearest, and not counted. One that is silent is replaced.
func TestPutCountsHolders(t *testing.T) {
	inNetwork(t, 8, nil, func(t *testing.T, w *network) {
		w.isServer = false
		r := open(t, 100, routing.KeyOf("x"), 1)
		near := w.near(r.Record.Key)
		near[0].reply = func(m wire.Message) wire.Message {
			if _, ok := m.(wire.Store); ok {
				return wire.Stored{Results: []wire.Code{wire.CodeFull}}
			}
			return near[0].answer(m)
		}
		near[1].reply = func(wire.Message) wire.Message { return nil }
		start := time.Now()
		st, err := w.Put(t.Context(), r, 0)
		if err != nil || st.Count != 3 || !errors.Is(st.Causes[near[0].id], wire.CodeFull) {
			t.Errorf("%+v, %v", st, err)
		}
		if held := w.holders(r); !slices.Equal(held, []int{2, 3, 4}) {
			t.Errorf("held at %v, want 2, 3, 4", held)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A record that has ended by the clocks of all peers is not stored on this node alone.
func TestPutByAWrongClockStoresNowhere(t *testing.T) {
	inNetwork(t, 2, nil, func(t *testing.T, w *network) {
		r := open(t, 100, routing.KeyOf("x"), 1)
		for _, p := range w.peers {
			p.reply = func(m wire.Message) wire.Message {
				if _, ok := m.(wire.Store); ok {
					return wire.Stored{Results: []wire.Code{wire.CodeExpired}}
				}
				return p.answer(m)
			}
		}
		if st, err := w.Put(t.Context(), r, 0); err != nil || st.Count != 0 || st.Of != 3 || w.own.Len() != 0 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

func TestPutAlone(t *testing.T) {
	inNetwork(t, 2, nil, func(t *testing.T, w *network) {
		r := open(t, 100, routing.KeyOf("x"), 1)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if st, err := w.Put(ended, r, 0); !errors.Is(err, context.Canceled) || st.Causes != nil {
			t.Errorf("with a context that has ended: %+v, %v", st, err)
		}
		for _, p := range w.peers {
			p.reply = func(wire.Message) wire.Message { return nil }
		}
		st, err := w.Put(t.Context(), r, 0)
		if err != nil || !st.Alone || st.Count != 1 || st.Answered != 0 || !w.own.Has(time.Now(), r) {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// version is a version of the owned record n of identity 100.
func version(t *testing.T, seq uint64) *wire.Signed {
	return signed(t, 100, wire.Record{Kind: wire.KindOwned, Name: []byte("n"), Seq: seq, Value: []byte{byte(seq)}})
}

func TestCompareAndPut(t *testing.T) {
	inNetwork(t, 4, nil, func(t *testing.T, w *network) {
		for _, c := range []struct {
			seq, expected uint64
			found         uint64 // in the conflict; 0: none
		}{
			{1, 0, 0},
			{2, 0, 1}, // the first stands
			{2, 1, 0},
			{9, 5, 2}, // no node has the expected version
			{3, 2, 0},
		} {
			st, err := w.CompareAndPut(t.Context(), version(t, c.seq), 0, c.expected)
			conflict, _ := errors.AsType[*ConflictError](err)
			switch {
			case c.found == 0 && (err != nil || st.Count != 4):
				t.Errorf("%d in the place of %d: %+v, %v", c.seq, c.expected, st, err)
			case c.found != 0 && (conflict == nil || conflict.Seq != c.found || conflict.Want != c.expected):
				t.Errorf("%d in the place of %d: %v", c.seq, c.expected, err)
			}
		}
	})
}

// A busy arbiter is asked again, because another one might let another writer win.
func TestCompareAndPutWaitsForABusyArbiter(t *testing.T) {
	inNetwork(t, 4, nil, func(t *testing.T, w *network) {
		w.isServer = false
		r := version(t, 1)
		arbiter := w.near(r.Record.Key)[0]
		busy := 2
		arbiter.reply = func(m wire.Message) wire.Message {
			if m, ok := m.(wire.Store); ok && m.IfSeq != nil && busy > 0 {
				busy--
				return wire.Error{Code: wire.CodeBusy}
			}
			return arbiter.answer(m)
		}
		if st, err := w.CompareAndPut(t.Context(), r, 0, 0); err != nil || st.Count != 4 || busy != 0 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

func TestCompareAndPutWithoutArbiter(t *testing.T) {
	inNetwork(t, 2, nil, func(t *testing.T, w *network) {
		w.isServer = false
		for _, p := range w.peers {
			p.reply = func(m wire.Message) wire.Message {
				if _, ok := m.(wire.Store); ok {
					return wire.Error{Code: wire.CodeUnimplemented}
				}
				return p.answer(m)
			}
		}
		st, err := w.CompareAndPut(t.Context(), version(t, 1), 0, 0)
		if !errors.Is(err, ErrNoArbiter) || len(st.Causes) != 2 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
