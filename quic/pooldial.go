package quic

import (
	"cmp"
	"context"
	"fmt"
)

// A dial is what all callers of Get for one peer wait for.
type dial struct {
	done   chan struct{} // closed when conn or err is set
	conn   *Conn
	err    error
	cancel context.CancelCauseFunc
}

// Get returns the connection to a peer, dialling if there is none. Callers that
// want the same peer at once wait for one dial, each only as long as its own ctx
// lasts; the dial goes on without them. Beside Dial's errors there is ErrBusy
// when the pool is full of connections that are held.
func (p *Pool) Get(ctx context.Context, key PublicKey) (*Conn, error) {
	if key == p.o.Self {
		return nil, fmt.Errorf("%w: it is our own", ErrWrongKey)
	}
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	pe := p.peer(key)
	if c := pe.conn; c != nil && c.alive() {
		c.Touch()
		p.mu.Unlock()
		return c, nil
	}
	if pe.dial == nil && !p.hasRoom() {
		p.drop(key)
		p.mu.Unlock()
		return nil, ErrBusy
	}
	if pe.dial == nil {
		pe.dial = p.start(key)
	}
	d := pe.dial
	p.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	default:
	}
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// start dials, in a goroutine of its own, as no caller's ctx may end it; with
// p.mu held.
func (p *Pool) start(key PublicKey) *dial {
	ctx, cancel := context.WithCancelCause(p.ctx)
	d := &dial{done: make(chan struct{}), cancel: cancel}
	p.wg.Add(1) // for the dial, and then for its connection
	go func() {
		defer cancel(nil)
		c, err := p.reach(ctx, key)
		p.reached(key, d, c, err)
	}()
	return d
}

// reach makes a connection, when its turn has come.
func (p *Pool) reach(ctx context.Context, key PublicKey) (*Conn, error) {
	select {
	case p.dials <- struct{}{}:
		defer func() { <-p.dials }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.o.DialTimeout, ErrTimeout)
	defer cancel()
	c, err := p.o.Dial(ctx, key)
	if err != nil {
		return nil, err
	}
	if c.key != key {
		c.Close(p.o.CloseLeaving, "")
		return nil, fmt.Errorf("%w: Dial made a connection to %v", ErrWrongKey, c.key)
	}
	return c, nil
}

// reached ends a dial: its callers get the connection that stays, or the error.
func (p *Pool) reached(key PublicKey, d *dial, c *Conn, err error) {
	if err == nil && p.o.Opened != nil {
		p.o.Opened(c)
	}
	p.mu.Lock()
	var out []farewell
	if err == nil {
		out = p.insert(c)
	}
	if pe := p.peers[key]; pe != nil && pe.dial == d {
		if pe.conn != nil && pe.conn.alive() { // also one accepted meanwhile
			p.settle(pe, pe.conn, nil)
		} else {
			p.settle(pe, nil, cmp.Or(err, ErrClosed))
		}
		p.drop(key)
	}
	p.mu.Unlock()
	p.close(out)
	if err != nil {
		p.wg.Done()
		return
	}
	c.whenEnded(func() { p.ended(c) })
}

// settle gives those who wait for a dial what they wait for; with p.mu held.
func (p *Pool) settle(pe *peer, c *Conn, err error) {
	d := pe.dial
	pe.dial = nil
	d.conn, d.err = c, err
	close(d.done)
}
