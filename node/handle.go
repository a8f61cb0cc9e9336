package node

import (
	"fmt"
	"net"
	"sync"

	"github.com/kadquic/kadquic/wire"
)

// Handle listens for a protocol, as [Node.Listen] does, and calls handle for every
// stream that a peer opens, with who that is, in a goroutine of its own: at most limit
// at a time, of which one peer has half at most, if that is more than one. Streams
// beyond that wait, a few, or are refused. When handle returns the stream is closed.
// Close of the node ends the streams and waits until every handle has returned: handle
// must not close the node. A limit below 1 is an error.
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

// A handler is the streams of one protocol that are being handled.
type handler struct {
	node   *Node
	most   int // of one peer
	handle func(wire.PeerID, net.Conn)

	mu sync.Mutex
	of map[wire.PeerID]int // how many there are
}

// accept takes streams until the node closes.
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

// refuse ends a stream for which there is no room.
func (s *appStream) refuse() {
	s.Reset(wire.ResetBusy)
	s.release()
}
