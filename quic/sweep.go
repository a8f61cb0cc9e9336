package quic

import "time"

// sweepGap is the least time between two looks at all connections of a pool.
const sweepGap = 250 * time.Millisecond

// A farewell is a connection taken out of the pool, to be closed without the
// pool's lock.
type farewell struct {
	c    *Conn
	code uint64
	idle bool // closed only because it was unused for long
}

func (p *Pool) close(out []farewell) {
	for _, f := range out {
		p.wg.Go(func() {
			if f.idle && p.o.Idle != nil {
				p.o.Idle(f.c)
			}
			f.c.Close(f.code, "")
		})
	}
}

// sweep closes what has been idle for long enough and goes to sleep until there
// may be more. It is all the pool has for a background: one timer.
func (p *Pool) sweep() {
	p.mu.Lock()
	p.wake = time.Time{}
	var out []farewell
	if !p.shut {
		out = p.idle()
		p.wg.Add(1)
		defer p.wg.Done()
	}
	p.mu.Unlock()
	p.close(out)
}

// idle takes out the connections that are due; with p.mu held.
func (p *Pool) idle() (out []farewell) {
	for c := range p.conns {
		left := p.left(c)
		switch {
		case left > 0:
			p.wakeIn(left)
		case c.Held(): // its release counts as a use
			p.wakeIn(p.limit(c))
		default:
			code := p.o.CloseIdle
			if c.draining {
				code = p.o.CloseDuplicate
			}
			p.remove(c)
			out = append(out, farewell{c, code, !c.draining})
		}
	}
	return out
}

// limit is how long c may be unused. A superseded connection is closed soon, by
// who dialled it: only the dialler knows of no request on its way.
func (p *Pool) limit(c *Conn) time.Duration {
	switch {
	case c.dialled && c.draining:
		return drainAfter
	case c.dialled:
		return p.o.IdleDialled
	default:
		return p.o.IdleAccepted
	}
}

// left returns how long c may stay unused.
func (p *Pool) left(c *Conn) time.Duration {
	limit := p.limit(c)
	if limit < 0 {
		return forever
	}
	return limit - c.idle()
}

const forever = 100 * 365 * 24 * time.Hour

// wakeIn has sweep run in d at the latest; with p.mu held.
func (p *Pool) wakeIn(d time.Duration) {
	d = max(d, sweepGap)
	at := time.Now().Add(d)
	if d >= forever || p.shut || (!p.wake.IsZero() && !at.Before(p.wake)) {
		return
	}
	p.wake = at
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.sweep)
	} else {
		p.timer.Reset(d)
	}
}

// hasRoom tells whether one more connection fits, or could be made to fit; with
// p.mu held.
func (p *Pool) hasRoom() bool {
	if len(p.conns) < p.o.MaxIn+p.o.MaxOut {
		return true
	}
	for c := range p.conns {
		if !c.Held() {
			return true
		}
	}
	return false
}

// makeRoom takes out the longest unused while there are too many; with p.mu held.
// That may be the newcomer, if all others are held.
func (p *Pool) makeRoom() (out []farewell) {
	for p.in > p.o.MaxIn || len(p.conns) > p.o.MaxIn+p.o.MaxOut {
		var oldest *Conn
		for c := range p.conns {
			if c.Held() || (c.dialled && p.in > p.o.MaxIn) {
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
		out = append(out, farewell{c: oldest, code: p.o.CloseIdle})
	}
	return out
}
