package node

import (
	"fmt"
	"net"
	"sync"

	"github.com/kadquic/kadquic/wire"
)

// Handle listens for a protocol, as [Node.Listen] does, and calls handle with the peer's
// ID for every stream that a peer opens, each in a new goroutine. At most limit calls run
// at a time, and at most half of them, but at least one, for one peer. Of the streams
// beyond limit a few wait; the others are refused, as is a peer's stream beyond its half.
// When handle returns, the stream is closed. [Node.Close] ends the streams and waits until
// every handle has returned, so handle must not close the node. A limit below 1 is an
// error.
func (n *Node) Handle(protocol string, limit int, handle func(from wire.PeerID, s net.Conn)) error {
	switch {
	case limit < 1:
		return fmt.Errorf("handle %q: a limit of %d streams, want 1 or more", protocol, limit)
	case handle == nil:
		return fmt.Errorf("handle %q: no function", protocol)
	}
	l, err := n.Listen(protocol)
	if err != nil {
		return err
	}
	h := &handler{node: n, of: make(map[wire.PeerID]int), most: max(1, limit/2), handle: handle}
	if !n.spawn(func() { h.accept(l, limit) }) {
		l.Close()
		return ErrClosed
	}
	return nil
}

// A handler tracks the streams of one protocol that are being handled.
type handler struct {
	node   *Node
	most   int // streams of one peer
	handle func(wire.PeerID, net.Conn)

	mu sync.Mutex
	of map[wire.PeerID]int // streams by peer
}

// accept accepts streams until the node closes.
func (h *handler) accept(l net.Listener, limit int) {
	places := make(chan struct{}, limit)
	for s, err := l.Accept(); err == nil; s, err = l.Accept() {
		from, _ := PeerOf(s)
		if !h.enter(from) {
			s.(*appStream).refuse()
			continue
		}
		select {
		case places <- struct{}{}:
		case <-h.node.ctx.Done():
			s.Close()
			return
		}
		if !h.node.spawn(func() {
			defer func() { <-places }()
			defer h.leave(from)
			defer s.Close()
			h.handle(from, s)
		}) {
			s.Close()
			return
		}
	}
}

func (h *handler) enter(from wire.PeerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[from] == h.most {
		return false
	}
	h.of[from]++
	return true
}

func (h *handler) leave(from wire.PeerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[from]--; h.of[from] == 0 {
		delete(h.of, from)
	}
}

// refuse resets a stream beyond the limit with ResetBusy.
func (s *appStream) refuse() {
	s.Reset(wire.ResetBusy)
	s.release()
}
