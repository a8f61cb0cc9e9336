package node

import (
	"context"
	"sync"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const (
	// closeGrace bounds how long Close waits for peers to read the data written.
	closeGrace = time.Second
	// maxDrain bounds how long a peer that drains a connection is kept waiting for
	// applications here that do not read.
	maxDrain = 10 * time.Second
)

// appStreams are the application streams of one connection. Goroutines may share it.
type appStreams struct {
	mu   sync.Mutex
	used bool                 // whether there has ever been a stream
	open map[*Stream]struct{} // those that the application has not closed
}

func (ss *appStreams) add(s *Stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.open == nil {
		ss.open = make(map[*Stream]struct{})
	}
	ss.used = true
	ss.open[s] = struct{}{}
}

func (ss *appStreams) remove(s *Stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, s)
}

// list returns the open streams, and whether there has ever been a stream.
func (ss *appStreams) list() (open []*Stream, used bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for s := range ss.open {
		open = append(open, s)
	}
	return open, ss.used
}

// drainAll ends the streams that the application has left open and waits until peers
// have read all data of the other streams, or until ctx ends. It does not wait for a
// connection that never carried an application stream.
//
// Waiting for QUIC's acknowledgements does not suffice: a connection that ends discards
// data that was received but not read.
func (n *Node) drainAll(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range n.links.all() {
		open, used := l.apps.list()
		if !used {
			continue
		}
		for _, s := range open {
			s.abandon()
		}
		wg.Go(func() { l.drain(ctx) })
	}
	wg.Wait()
}

// drain sends the peer a drain request and waits until the peer's applications have read
// every stream of the connection. SPEC §7, Draining.
func (l *link) drain(ctx context.Context) {
	s, err := l.conn.OpenStream(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.Reset(wire.ResetLeaving) })
	defer stop()
	if _, err := s.Write(wire.AppendStreamHeader(nil, wire.ProtocolDrain)); err != nil {
		return
	}
	s.CloseWrite()
	s.Read(make([]byte, 1)) // the peer ends the stream, or the connection
}

// serveDrain answers a drain request: it ends the stream once the application has read,
// or given up, each stream that was open when the request arrived.
func (l *link) serveDrain(s *Stream) {
	open, _ := l.apps.list()
	timeout := time.NewTimer(maxDrain)
	defer timeout.Stop()
	for _, a := range open {
		select {
		case <-a.read:
		case <-timeout.C:
			s.stream.Reset(wire.ResetBusy)
			return
		case <-l.conn.Done():
			return
		}
	}
	s.Close()
}
