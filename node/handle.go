package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/wire"
)

// A Handler serves the streams of one protocol. [Node.Handle] makes it. Goroutines may share
// it.
type Handler struct {
	listener *Listener
	stop     context.CancelFunc // ends accepting
	most     int                // streams of one peer
	serve    func(*Stream)
	slots    *background.Slots
	running  sync.WaitGroup // calls of serve, and the goroutine that accepts

	mu     sync.Mutex
	of     map[wire.PeerID]int // streams by peer
	open   map[*Stream]struct{}
	closed bool
}

// Handle listens for a protocol, as [Node.Listen] does, and calls serve for every stream that a
// peer opens, each in a new goroutine. At most limit calls run at a time, and at most half of
// them, but at least one, for one peer. Of the streams beyond limit a few wait; the others are
// refused, as is a peer's stream beyond its half. When serve returns, the stream is closed.
//
// [Handler.Close] and [Handler.Shutdown] end the handler, and [Node.Close] ends it too. They
// wait until every call of serve has returned, so serve must not call them. A limit below 1 is
// an error.
func (n *Node) Handle(protocol string, limit int, serve func(*Stream)) (*Handler, error) {
	switch {
	case limit < 1:
		return nil, fmt.Errorf("handle %q: a limit of %d streams, want 1 or more", protocol, limit)
	case serve == nil:
		return nil, fmt.Errorf("handle %q: no function", protocol)
	}
	ln, err := n.Listen(protocol)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	h := &Handler{listener: ln, stop: cancel, most: max(1, limit/2), serve: serve, slots: n.background.Slots(limit),
		of: make(map[wire.PeerID]int), open: make(map[*Stream]struct{})}
	h.running.Add(1)
	if !n.spawn(func() { defer h.running.Done(); h.accept(ctx) }) {
		h.running.Done()
		h.stopAccepting()
		return nil, ErrClosed
	}
	return h, nil
}

// Close stops accepting streams, resets those that are being served, and waits until every
// call of serve has returned.
func (h *Handler) Close() error {
	h.stopAccepting()
	h.mu.Lock()
	h.closed = true
	for s := range h.open {
		s.stream.Reset(wire.ResetLeaving)
	}
	h.mu.Unlock()
	h.running.Wait()
	return nil
}

// Shutdown stops accepting streams and waits until those that are being served have ended. If
// ctx ends first, Shutdown closes the handler and returns the error of ctx.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.stopAccepting()
	done := make(chan struct{})
	go func() { h.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		h.Close()
		return context.Cause(ctx)
	}
}

func (h *Handler) stopAccepting() {
	h.listener.Close()
	h.stop()
}

// accept accepts streams until the listener or the node closes.
func (h *Handler) accept(ctx context.Context) {
	for s, err := h.listener.AcceptStream(ctx); err == nil; s, err = h.listener.AcceptStream(ctx) {
		if !h.enter(s) {
			s.reset(wire.ResetBusy)
			continue
		}
		if h.slots.Acquire(ctx) != nil {
			h.leave(s)
			s.reset(wire.ResetLeaving)
			return
		}
		h.running.Add(1)
		started := h.slots.Go(func() {
			defer h.running.Done()
			defer h.leave(s)
			defer s.Close()
			h.serve(s)
		})
		if !started {
			h.running.Done()
			h.leave(s)
			s.Close()
			return
		}
	}
}

// enter counts a stream, unless its peer has too many or the handler is closed.
func (h *Handler) enter(s *Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.of[s.Peer()] == h.most {
		return false
	}
	h.of[s.Peer()]++
	h.open[s] = struct{}{}
	return true
}

func (h *Handler) leave(s *Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, s)
	if h.of[s.Peer()]--; h.of[s.Peer()] == 0 {
		delete(h.of, s.Peer())
	}
}
