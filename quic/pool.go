package quic

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// PoolConfig says how a [Pool] works. Self and Dial must be set; the zero value
// of everything else means its default.
type PoolConfig struct {
	// Self is our own key: it decides which of two simultaneous dials stays.
	Self PublicKey

	// Dial makes a connection to a peer, wherever it may be. Its context ends
	// after DialTimeout, or when no caller needs the connection any more; see
	// Linger. The context's cause is ErrTimeout if the dial has had its time.
	Dial func(context.Context, PublicKey) (*Conn, error)

	// Opened is called once for each connection, dialled or accepted, before Get
	// returns it to a caller. It should return soon. May be nil.
	Opened func(*Conn)

	// Closed is called once for each connection that Opened was called for, after
	// it has ended. May be nil.
	Closed func(*Conn)

	// Idle is called before a connection is closed because it was unused for long.
	// The pool no longer gives it out, and it is open until Idle returns: time for a
	// last question. Close waits for it. May be nil.
	Idle func(*Conn)

	// IdleDialled and IdleAccepted are how long a connection may go unused and
	// unheld before it is closed, dialled and accepted. The acceptor waits longer, so
	// that the dialler, which knows best, closes first. If zero, 30 and 60 seconds.
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

	// Linger is how long a dial goes on after its last caller has left, so that a
	// caller with a short timeout also finds out that the peer does not answer. A
	// dial that is still queued ends with its last caller. If zero, so does any other.
	Linger time.Duration

	// The codes with which connections are closed: unused, or the longest unused
	// of too many; superseded by another to the same peer; by Close.
	CloseIdle, CloseDuplicate, CloseLeaving uint64
}

const (
	crossWithin = 5 * time.Second // two dials closer than this crossed
	drainAfter  = time.Second     // how long a superseded connection must be unused
	maxPerPeer  = 4               // connections to one peer, the superseded among them
)

// A Pool keeps the connections to peers: one to give for each, and those it
// supersedes while they drain. Its methods may be called by several goroutines
// at once.
type Pool struct {
	o      PoolConfig
	ctx    context.Context // of all dials
	cancel context.CancelCauseFunc
	dials  chan struct{} // a place for each dial under way

	wg sync.WaitGroup // dials, closes, and connections until Closed has returned

	mu    sync.Mutex
	shut  bool
	peers map[PublicKey]*peer
	conns map[*Conn]struct{}
	in    int         // accepted ones among conns
	timer *time.Timer // runs sweep
	wake  time.Time   // when; zero: never
}

// A peer has the connections and the dial of one key. It is dropped when it has none.
type peer struct {
	conn  *Conn // to give; nil, or ended, if there is none
	dial  *dial // under way, or nil
	conns int   // of Pool.conns
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
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	return p
}

// peer finds or makes the entry of key; with p.mu held.
func (p *Pool) peer(key PublicKey) *peer {
	pe := p.peers[key]
	if pe == nil {
		pe = &peer{}
		p.peers[key] = pe
	}
	return pe
}

// drop removes a peer without connections and dial. The caller holds p.mu.
func (p *Pool) drop(key PublicKey) {
	if pe := p.peers[key]; pe != nil && pe.conns == 0 && pe.conn == nil && pe.dial == nil {
		delete(p.peers, key)
	}
}

// Add gives the pool a connection that we accepted, or have dialled without being
// asked to by Dial.
//
// If we are dialling that peer, our dial is ended for the sake of the accepted
// connection. Both sides cannot do so to one another: who accepts sees a dial
// that its peer has finished.
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
	out := p.insert(c)
	if pe := p.peers[c.key]; pe != nil && pe.dial != nil && pe.conn == c {
		pe.dial.cancel(errAccepted)
		p.settle(pe, c, nil)
	}
	p.mu.Unlock()
	p.close(out)
	c.whenEnded(func() { p.ended(c) })
}

var errAccepted = errors.New("quic: the peer was faster")

// insert takes c in and decides which connection to its peer is given from now
// on; with p.mu held.
func (p *Pool) insert(c *Conn) (out []farewell) {
	if p.shut {
		return []farewell{{c: c, code: p.o.CloseLeaving}}
	}
	p.conns[c] = struct{}{}
	if !c.dialled {
		p.in++
	}
	pe := p.peer(c.key)
	pe.conns++
	switch old := pe.conn; {
	case old == nil || !old.alive():
		pe.conn = c
	case !c.alive(): // it was not to be
	case old.Retired(), p.supersedes(c, old):
		pe.conn, old.draining = c, true
		p.wakeIn(p.left(old))
	default:
		c.draining = true
	}
	p.wakeIn(p.left(c))
	return append(p.makeRoom(), p.crowd(c.key)...)
}

// crowd takes out the oldest of too many connections to a peer, though it may be
// held; with p.mu held.
func (p *Pool) crowd(key PublicKey) []farewell {
	var oldest *Conn
	n := 0
	for c := range p.conns {
		if c.key != key {
			continue
		}
		if n++; c.draining && (oldest == nil || c.opened.Before(oldest.opened)) {
			oldest = c
		}
	}
	if n <= maxPerPeer || oldest == nil {
		return nil
	}
	p.remove(oldest)
	return []farewell{{c: oldest, code: p.o.CloseDuplicate}}
}

// supersedes reports whether a new connection replaces the present one. Of two dials
// that crossed, both sides keep the virtual connection, as it survives a change of
// network, or else the one dialled by the smaller key. Otherwise both keep the newer
// one, as the older may be dead.
func (p *Pool) supersedes(c, old *Conn) bool {
	crossed := c.opened.Sub(old.opened).Abs() <= crossWithin
	switch {
	case crossed && c.Virtual() != old.Virtual():
		return c.Virtual()
	case crossed && c.dialled != old.dialled:
		return c.dialled == (p.o.Self.Compare(c.key) < 0)
	}
	return !c.opened.Before(old.opened)
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

// remove takes c out, if it is in; with p.mu held.
func (p *Pool) remove(c *Conn) {
	if _, ok := p.conns[c]; !ok {
		return
	}
	delete(p.conns, c)
	if !c.dialled {
		p.in--
	}
	pe := p.peers[c.key]
	if pe.conns--; pe.conn == c {
		pe.conn = p.retired(c.key, pe.conns)
	}
	p.drop(c.key)
}

// retired returns the youngest of the connections to a peer that are retired, nil if
// none is: for want of another it is given again; with p.mu held.
func (p *Pool) retired(key PublicKey, conns int) (youngest *Conn) {
	if conns == 0 { // nearly always
		return nil
	}
	for c := range p.conns {
		if c.key == key && c.Retired() && c.alive() && (youngest == nil || c.opened.After(youngest.opened)) {
			youngest = c
		}
	}
	return youngest
}

// Retire marks c as blocked by its own traffic although it lives. Get dials another
// connection, any other dial supersedes c, and Get returns c only while there is no
// other. c is closed when it has no holder and no user.
func (p *Pool) Retire(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.retired.Store(true)
	pe := p.peers[c.key]
	if pe == nil || pe.conn != c {
		return
	}
	for other := range p.conns { // a newer one that c was preferred to
		if other.key == c.key && other.alive() && !other.Retired() && other.opened.After(c.opened) {
			pe.conn, other.draining, c.draining = other, false, true
			return
		}
	}
}

// Lookup returns the connection to a peer that is given, if there is one; it may be
// retired. It does not count as a use.
func (p *Pool) Lookup(key PublicKey) (*Conn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pe := p.peers[key]; pe != nil && pe.conn != nil && pe.conn.alive() {
		return pe.conn, true
	}
	return nil, false
}

// Virtual tells whether there is a virtual connection to a peer, which may be retired
// or superseded, and how long ago one was last used: zero while it is held.
func (p *Pool) Virtual(key PublicKey) (is bool, unused time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pe := p.peers[key]
	if pe == nil || pe.conns == 0 {
		return false, 0
	}
	if c := pe.conn; pe.conns == 1 && c != nil { // nearly always
		return c.unused()
	}
	unused = math.MaxInt64
	for c := range p.conns {
		if c.key != key {
			continue
		}
		if v, d := c.unused(); v {
			is, unused = true, min(unused, d)
		}
	}
	return is, unused
}

// unused tells whether a connection is virtual and alive, and how long ago it was last
// used; zero while it is held.
func (c *Conn) unused() (virtual bool, d time.Duration) {
	if !c.Held() {
		d = c.idle()
	}
	return c.Virtual() && c.alive(), d
}

// Len counts the connections of the pool, those that drain among them.
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
	if p.timer != nil {
		p.timer.Stop()
	}
	var out []farewell
	for c := range p.conns {
		out = append(out, farewell{c: c, code: p.o.CloseLeaving})
	}
	p.mu.Unlock()
	p.cancel(ErrClosed)
	p.close(out)
	p.wg.Wait()
}
