package quic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// A dial is what all callers of Get for one peer wait for.
type dial struct {
	key    PublicKey
	done   chan struct{} // closed when conn or err is set
	conn   *Conn
	err    error
	cancel context.CancelCauseFunc

	waiting int         // callers of Get; guarded by p.mu, as are
	begun   time.Time   // when it left the queue; zero: not yet
	linger  *time.Timer // ends it some time after its last caller has left; nil: never set
}

// Get returns the connection to a peer, dialling if there is none. Callers that
// want the same peer at once wait for one dial, each only as long as its own ctx
// lasts; when the last has left, the dial ends (see PoolConfig.Linger). Beside
// Dial's errors there is ErrBusy when the pool is full of connections that are held.
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
	c := pe.conn
	if c != nil && !c.alive() {
		c = nil
	}
	noRoom := pe.dial == nil && !p.hasRoom()
	if c != nil && (!c.Retired() || noRoom) {
		c.Touch()
		p.mu.Unlock()
		return c, nil
	}
	if noRoom {
		p.drop(key)
		p.mu.Unlock()
		return nil, ErrBusy
	}
	if pe.dial == nil {
		pe.dial = p.start(key)
	}
	d := pe.dial
	d.waiting++
	p.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		if !p.leave(d) {
			return nil, context.Cause(ctx)
		}
	}
	return d.conn, d.err
}

var errUnwanted = errors.New("quic: the dial has no caller any more")

// leave removes a waiting caller, and reports whether the dial is over. A dial
// without callers ends: at once while it is queued, else after Linger.
func (p *Pool) leave(d *dial) (over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-d.done:
		return true
	default:
	}
	if d.waiting--; d.waiting > 0 {
		return false
	}
	if d.begun.IsZero() || p.o.Linger == 0 {
		p.abandon(d, errUnwanted)
		return false
	}
	left := p.o.Linger - time.Since(d.begun)
	if d.linger == nil {
		d.linger = time.AfterFunc(left, func() { p.lingered(d) })
	} else {
		d.linger.Reset(left)
	}
	return false
}

// lingered ends a dial that had no caller until the end of Linger.
func (p *Pool) lingered(d *dial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.waiting == 0 {
		p.abandon(d, ErrTimeout)
	}
}

// abandon ends a dial without a result to any caller. The caller holds p.mu.
func (p *Pool) abandon(d *dial, why error) {
	d.cancel(why)
	if pe := p.peers[d.key]; pe != nil && pe.dial == d {
		p.settle(pe, nil, why)
		p.drop(d.key)
	}
}

// start dials in a new goroutine, as no caller's ctx may end the dial. The caller
// holds p.mu.
func (p *Pool) start(key PublicKey) *dial {
	ctx, cancel := context.WithCancelCause(p.ctx)
	d := &dial{key: key, done: make(chan struct{}), cancel: cancel}
	p.wg.Add(1) // for the dial, and then for its connection
	go func() {
		defer cancel(nil)
		c, err := p.reach(ctx, d)
		p.reached(key, d, c, err)
	}()
	return d
}

// reach makes a connection, when its turn has come.
func (p *Pool) reach(ctx context.Context, d *dial) (*Conn, error) {
	select {
	case p.dials <- struct{}{}:
		defer func() { <-p.dials }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	d.begun = time.Now()
	p.mu.Unlock()
	if ctx.Err() != nil { // both at once
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.o.DialTimeout, ErrTimeout)
	defer cancel()
	c, err := p.o.Dial(ctx, d.key)
	if err != nil {
		return nil, err
	}
	if c.key != d.key {
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

// settle gives the waiting callers the dial's result. The caller holds p.mu.
func (p *Pool) settle(pe *peer, c *Conn, err error) {
	d := pe.dial
	pe.dial = nil
	d.conn, d.err = c, err
	close(d.done)
	if d.linger != nil {
		d.linger.Stop()
	}
}
