package quic

import (
	"context"
	"sync"

	quicgo "github.com/quic-go/quic-go"
)

// virtual is the second quic-go transport of a Transport, above its inner socket.
type virtual struct {
	q      *quicgo.Transport
	ln     *quicgo.Listener
	dialer *quicgo.Config

	// Connections of both transports that Accept has not yet returned; closed when
	// both have ended, then err says why the first did.
	accepted chan *quicgo.Conn
	pumps    sync.WaitGroup
	mu       sync.Mutex
	err      error
}

// startVirtual makes t.v. It has the secrets of t.q: a transport without paths
// may take over from one with them, and resets the connections it does not know.
func (t *Transport) startVirtual(acceptor *quicgo.Config) error {
	v := &virtual{dialer: t.dialer.Clone(), accepted: make(chan *quicgo.Conn)}
	acceptor = acceptor.Clone()
	for _, c := range []*quicgo.Config{v.dialer, acceptor} {
		c.InitialPacketSize = VirtualPacketSize
		c.EnableDatagrams = false // they are what carries these
	}
	v.q = &quicgo.Transport{
		Conn:                  t.paths.in.socket(),
		ConnectionIDGenerator: t.paths.ids,
		TokenGeneratorKey:     t.q.TokenGeneratorKey,
		StatelessResetKey:     t.q.StatelessResetKey,
		VerifySourceAddress:   t.mustProve,
		ConnContext:           t.incoming,
	}
	var err error
	if v.ln, err = v.q.Listen(t.serverTLS(), acceptor); err != nil {
		t.paths.in.Close()
		v.q.Close()
		return err
	}
	t.v = v
	v.pumps.Go(func() {
		v.pump(t.ln)
		v.ln.Close()
	})
	v.pumps.Go(func() { v.pump(v.ln) })
	go func() {
		v.pumps.Wait()
		close(v.accepted)
	}()
	return nil
}

func (v *virtual) pump(ln *quicgo.Listener) {
	for {
		c, err := ln.Accept(context.Background())
		if err != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			if v.err == nil {
				v.err = err
			}
			return
		}
		v.accepted <- c
	}
}

// close ends the transport, when the socket is closed and both listeners are.
func (v *virtual) close() { v.q.Close() }

// next waits for the next connection of either kind.
func (t *Transport) next(ctx context.Context) (*quicgo.Conn, error) {
	if t.v == nil {
		return t.ln.Accept(ctx)
	}
	select {
	case c, ok := <-t.v.accepted:
		if ok {
			return c, nil
		}
		t.v.mu.Lock()
		defer t.v.mu.Unlock()
		return nil, t.v.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
