package quic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// PoolConfig says how a [Pool] works. Self and Dial must be set; the zero value
// of everything else means its default.
type PoolConfig struct {
	// Self is our own key: it decides which of two simultaneous dials stays.
	Self PublicKey

	// Dial makes a connection to a peer, wherever it may be. Its context ends
	// after DialTimeout, or when nobody needs the connection any more; callers of
	// Get do not end it.
	Dial func(context.Context, PublicKey) (*Conn, error)

	// Opened is called once for each connection, dialled or accepted, before Get
	// gives it to anybody. It should return soon. May be nil.
	Opened func(*Conn)

	// Closed is called once for each connection that Opened was called for, after
	// it has ended. May be nil.
	Closed func(*Conn)

	// IdleDialled and IdleAccepted are how long a connection may go unused and
	// unheld before it is closed, by who made it. The acceptor waits longer, so
	// that the dialler, who knows best, closes first. If zero, 30 and 60 seconds.
	// If negative, for ever.
	IdleDialled, IdleAccepted time.Duration

	// MaxIn bounds accepted connections; MaxOut are kept free for dialled ones,
	// which may use what MaxIn leaves too. Above it the one unused for longest is
	// closed, unless held. If zero, 512 and 64.
	MaxIn, MaxOut int

	// MaxDials bounds the dials under way; further ones wait. If zero, 64.
	MaxDials int

	// DialTimeout bounds one dial. If zero, 5 seconds.
	DialTimeout time.Duration

	// The codes with which connections are closed: unused, or the longest unused
	// of too many; superseded by another to the same peer; by Close.
	CloseIdle, CloseDuplicate, CloseLeaving uint64
}

const (
	simultaneous = 5 * time.Second // two dials closer than this crossed
	drainFor     = time.Second     // how long a superseded connection must be unused
)

// A Pool keeps the connections to peers: one to give for each, and those it
// supersedes while they drain. Its methods may be called by several goroutines
// at once.
type Pool struct {
	o      PoolConfig
	ctx    context.Context // of all dials
	cancel context.CancelFunc
	dials  chan struct{} // a place for each dial under way

	wg sync.WaitGroup // dials, closes, and connections until Closed has returned

	mu    sync.Mutex
	shut  bool
	peers map[PublicKey]*peer
	conns map[*Conn]struct{}
	in    int       // accepted ones among conns
	wake  time.Time // when timer goes off; zero: never
	timer *time.Timer
}

// A peer is what the pool has of one key: something, or it is dropped.
type peer struct {
	conn *Conn // to give; nil or ended: there is none
	dial *dial // under way; nil: there is none
}

// A dial is what all callers of Get for one peer wait for.
type dial struct {
	done   chan struct{} // closed when conn or err is set
	conn   *Conn
	err    error
	cancel context.CancelFunc
}

// NewPool makes an empty pool.
func NewPool(o PoolConfig) *Pool {
	if o.IdleDialled == 0 {
		o.IdleDialled = 30 * time.Second
	}
	if o.IdleAccepted == 0 {
		o.IdleAccepted = 60 * time.Second
	}
	orDuration(&o.DialTimeout, 5*time.Second)
	orInt(&o.MaxIn, 512)
	orInt(&o.MaxOut, 64)
	orInt(&o.MaxDials, 64)
	p := &Pool{
		o:     o,
		dials: make(chan struct{}, o.MaxDials),
		peers: map[PublicKey]*peer{},
		conns: map[*Conn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Get returns the connection to a peer, dialling if there is none. Callers that
// want the same peer at once wait for one dial, and each only as long as its own
// ctx lasts; the dial goes on without them.
func (p *Pool) Get(ctx context.Context, key PublicKey) (*Conn, error) {
	if key == p.o.Self {
		return nil, errors.New("quic: no connection to oneself")
	}
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	pe := p.peers[key]
	if pe == nil {
		pe = &peer{}
		p.peers[key] = pe
	}
	if c := pe.conn; c != nil && c.alive() {
		c.Touch()
		p.mu.Unlock()
		return c, nil
	}
	d := pe.dial
	if d == nil {
		d = p.start(pe, key)
	}
	p.mu.Unlock()

	select {
	case <-d.done:
	default:
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return d.conn, d.err
}

// start dials in a goroutine of its own; with p.mu held.
func (p *Pool) start(pe *peer, key PublicKey) *dial {
	ctx, cancel := context.WithCancel(p.ctx)
	d := &dial{done: make(chan struct{}), cancel: cancel}
	pe.dial = d
	p.wg.Add(1) // for the dial, then for its connection
	go func() {
		defer cancel()
		c, err := p.dialOne(ctx, key)
		p.dialled(key, d, c, err)
	}()
	return d
}

func (p *Pool) dialOne(ctx context.Context, key PublicKey) (*Conn, error) {
	select {
	case p.dials <- struct{}{}:
		defer func() { <-p.dials }()
	case <-ctx.Done():
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.o.DialTimeout, ErrTimeout)
	defer cancel()
	c, err := p.o.Dial(ctx, key)
	if err != nil {
		return nil, err
	}
	if c.RemoteKey() != key {
		c.Close(p.o.CloseLeaving, "")
		return nil, fmt.Errorf("%w: Dial made a connection to %v", ErrWrongKey, c.RemoteKey())
	}
	return c, nil
}

// dialled ends a dial: its callers get the connection that stays, or the error.
func (p *Pool) dialled(key PublicKey, d *dial, c *Conn, err error) {
	if err == nil && p.o.Opened != nil {
		p.o.Opened(c)
	}
	p.mu.Lock()
	pe := p.peers[key]
	var closing []*Conn
	if err == nil {
		closing = p.insert(c)
		pe = p.peers[key]
	}
	if pe != nil && pe.dial == d {
		pe.dial = nil
		if d.conn, d.err = pe.conn, nil; d.conn == nil || !d.conn.alive() {
			if d.conn, d.err = nil, err; err == nil {
				d.err = ErrClosed
			}
		}
		close(d.done)
		p.forget(key)
	}
	p.mu.Unlock()
	p.close(closing)
	if err != nil {
		p.wg.Done()
		return
	}
	c.whenEnded(func() { p.ended(c) })
}

// Add gives the pool a connection that we accepted.
func (p *Pool) Add(c *Conn) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		c.Close(p.o.CloseLeaving, "")
		return
	}
	p.wg.Add(1)
	p.mu.Unlock()
	if p.o.Opened != nil {
		p.o.Opened(c)
	}
	p.mu.Lock()
	closing := p.insert(c)
	if pe := p.peers[c.key]; pe != nil && pe.dial != nil && pe.conn == c && c.key.Compare(p.o.Self) < 0 {
		// It would stay against ours under way: nobody need wait for that.
		d := pe.dial
		pe.dial = nil
		d.conn = c
		close(d.done)
		d.cancel()
	}
	p.mu.Unlock()
	p.close(closing)
	c.whenEnded(func() { p.ended(c) })
}

// insert makes room for c and decides which connection to its peer is given from
// now on; with p.mu held. It returns what must be closed, without the lock.
func (p *Pool) insert(c *Conn) (closing []*Conn) {
	if p.shut {
		return []*Conn{c}
	}
	p.conns[c] = struct{}{}
	c.pooled = true
	if !c.dialled {
		p.in++
	}
	pe := p.peers[c.key]
	if pe == nil {
		pe = &peer{}
		p.peers[c.key] = pe
	}
	switch old := pe.conn; {
	case old == nil || !old.alive():
		pe.conn = c
	case p.stays(c, old):
		pe.conn, old.draining = c, true
		p.wakeBy(time.Now().Add(p.left(old)))
	default:
		c.draining = true
	}
	p.wakeBy(time.Now().Add(p.left(c)))
	return p.makeRoom()
}

// stays tells whether a newcomer to a peer supersedes what we have. Two dials
// that crossed end, on both sides, with the one made by the smaller key; of two
// that did not, the newer stays, for the older may be dead.
func (p *Pool) stays(c, old *Conn) bool {
	if c.dialled != old.dialled && c.opened.Sub(old.opened).Abs() <= simultaneous {
		mine := p.o.Self.Compare(c.key) < 0
		return c.dialled == mine
	}
	return !c.opened.Before(old.opened)
}

// makeRoom takes the longest unused out of the pool while it is too full.
func (p *Pool) makeRoom() (closing []*Conn) {
	for p.in > p.o.MaxIn || len(p.conns) > p.o.MaxIn+p.o.MaxOut {
		var oldest *Conn
		for c := range p.conns {
			if c.Held() || (p.in > p.o.MaxIn && c.dialled) {
				continue
			}
			if oldest == nil || c.used.Load() < oldest.used.Load() {
				oldest = c
			}
		}
		if oldest == nil {
			break
		}
		p.remove(oldest)
		closing = append(closing, oldest)
	}
	return closing
}

// left is how long c may stay if it is not used again.
func (p *Pool) left(c *Conn) time.Duration {
	limit := p.o.IdleAccepted
	switch {
	case c.dialled && c.draining:
		limit = drainFor
	case c.dialled:
		limit = p.o.IdleDialled
	}
	if limit < 0 {
		return 1<<63 - 1
	}
	return limit - c.Idle()
}

// wakeBy has sweep run no later than at; with p.mu held.
func (p *Pool) wakeBy(at time.Time) {}

// remove takes c out of the pool; with p.mu held.
func (p *Pool) remove(c *Conn) {
	if !c.pooled {
		return
	}
	c.pooled = false
	delete(p.conns, c)
	if !c.dialled {
		p.in--
	}
	if pe := p.peers[c.key]; pe != nil && pe.conn == c {
		pe.conn = nil
		p.forget(c.key)
	}
}

// forget drops a peer of whom nothing is left; with p.mu held.
func (p *Pool) forget(key PublicKey) {
	if pe := p.peers[key]; pe != nil && pe.conn == nil && pe.dial == nil {
		delete(p.peers, key)
	}
}

// ended runs once for each connection, when it has ended.
func (p *Pool) ended(c *Conn) {
	p.mu.Lock()
	p.remove(c)
	p.mu.Unlock()
	if p.o.Closed != nil {
		p.o.Closed(c)
	}
	p.wg.Done()
}

func (p *Pool) close(conns []*Conn) {
	for _, c := range conns {
		p.wg.Go(func() { c.Close(p.o.CloseIdle, "") })
	}
}

// Lookup returns the connection to a peer if there is one. It does not count as
// a use.
func (p *Pool) Lookup(key PublicKey) (*Conn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pe := p.peers[key]; pe != nil && pe.conn != nil && pe.conn.alive() {
		return pe.conn, true
	}
	return nil, false
}

// All returns every connection of the pool, also those that drain.
func (p *Pool) All() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*Conn, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	return all
}

// Len counts what All returns.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Close ends the dials under way and closes every connection with CloseLeaving.
// It returns when Closed has returned for each.
func (p *Pool) Close() {
	p.mu.Lock()
	p.shut = true
	all := make([]*Conn, 0, len(p.conns))
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	p.cancel()
	for _, c := range all {
		p.wg.Go(func() { c.Close(p.o.CloseLeaving, "") })
	}
	p.wg.Wait()
}
