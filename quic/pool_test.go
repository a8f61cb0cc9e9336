package quic

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	codeIdle      = 11
	codeDuplicate = 12
	codeLeaving   = 13
)

// A member is a transport with its pool, in a simulated network whose members
// know one another's addresses.
type member struct {
	*Pool
	t *Transport

	dials          atomic.Int32
	mu             sync.Mutex
	opened, closed []*Conn
}

type members struct {
	sim   *sim
	addrs sync.Map // of PublicKey to netip.AddrPort
}

func newMembers(t *testing.T) *members { return &members{sim: newSim(t, 20*time.Millisecond)} }

func (ms *members) join(o PoolConfig) *member {
	ms.sim.tb.Helper()
	m := &member{t: ms.sim.transport()}
	ms.addrs.Store(m.t.PublicKey(), m.t.LocalAddr())
	o.Self = m.t.PublicKey()
	o.Dial = func(ctx context.Context, key PublicKey) (*Conn, error) {
		m.dials.Add(1)
		addr, _ := ms.addrs.Load(key)
		return m.t.Dial(ctx, addr.(netip.AddrPort), key)
	}
	o.Opened = func(c *Conn) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.opened = append(m.opened, c)
	}
	o.Closed = func(c *Conn) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.closed = append(m.closed, c)
	}
	o.CloseIdle, o.CloseDuplicate, o.CloseLeaving = codeIdle, codeDuplicate, codeLeaving
	m.Pool = NewPool(o)
	go func() {
		for {
			c, err := m.t.Accept(context.Background())
			if err != nil {
				return
			}
			m.Add(c)
		}
	}()
	ms.sim.tb.Cleanup(m.Pool.Close)
	return m
}

// pair joins two members, the one with the smaller key first.
func (ms *members) pair(o PoolConfig) (small, large *member) {
	small, large = ms.join(o), ms.join(o)
	if k, l := small.t.PublicKey(), large.t.PublicKey(); bytes.Compare(k[:], l[:]) > 0 {
		small, large = large, small
	}
	return small, large
}

func (m *member) get(t *testing.T, to *member) *Conn {
	t.Helper()
	c, err := m.Get(t.Context(), to.t.PublicKey())
	check(t, err)
	return c
}

// has checks what a pool holds: so many connections in all, so many opened so far
// and so many closed.
func (m *member) has(t *testing.T, conns, opened, closed int) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Len() != conns || len(m.opened) != opened || len(m.closed) != closed {
		t.Errorf("%d connections, %d opened, %d closed; want %d, %d, %d", m.Len(), len(m.opened), len(m.closed), conns, opened, closed)
	}
}

// first returns the first connection that was opened, or closed.
func (m *member) first(list *[]*Conn) *Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (*list)[0]
}

func endedWith(t *testing.T, c *Conn, code uint64) {
	t.Helper()
	var e *CloseError
	if !errors.As(c.Err(), &e) || e.Code != code {
		t.Errorf("ended with %v, want code %d", c.Err(), code)
	}
}

// Many callers, one dial, one connection; and its other side is the same one.
func TestPoolSharesOneDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{})
		var wg sync.WaitGroup
		got := make([]*Conn, 50)
		for i := range got {
			wg.Go(func() { got[i] = a.get(t, b) })
		}
		wg.Wait()
		if a.dials.Load() != 1 || len(slices.Compact(got)) != 1 {
			t.Errorf("%d dials, %d connections", a.dials.Load(), len(slices.Compact(got)))
		}
		time.Sleep(time.Second)
		a.has(t, 1, 1, 0)
		b.has(t, 1, 1, 0)
		if c := b.get(t, a); c.Dialled() || b.dials.Load() != 0 {
			t.Error("the acceptor dialled back")
		}
		if c, ok := a.Lookup(b.t.PublicKey()); !ok || c != got[0] {
			t.Error("Lookup finds something else")
		}
	})
}

// A caller that gives up ends its wait, not a dial that may linger.
func TestPoolDialOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{Linger: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := a.Get(ctx, b.t.PublicKey())
		want(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
		if _, ok := a.Lookup(b.t.PublicKey()); !ok || a.dials.Load() != 1 {
			t.Error("the dial ended with its caller")
		}
	})
}

func TestPoolDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a := ms.join(PoolConfig{})
		nobody := PublicOf(newKey(t).Key)
		ms.addrs.Store(nobody, a.t.LocalAddr())
		begin := time.Now()
		_, err := a.Get(t.Context(), nobody)
		want(t, err, ErrWrongKey)
		ms.addrs.Store(nobody, netip.MustParseAddrPort("203.0.113.99:1"))
		_, err = a.Get(t.Context(), nobody)
		want(t, err, ErrTimeout)
		if took := time.Since(begin).Round(time.Second); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		a.has(t, 0, 0, 0)
		if len(a.peers) != 0 {
			t.Error("a peer that does not answer is remembered")
		}
		_, err = a.Get(t.Context(), a.t.PublicKey())
		want(t, err, ErrWrongKey)
	})
}

// Two peers that dial one another at the same moment end with one connection, the
// one that the smaller key dialled.
func TestPoolMergesCrossingDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newMembers(t).pair(PoolConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { small.get(t, large) })
		wg.Go(func() { large.get(t, small) })
		wg.Wait()
		time.Sleep(100 * time.Millisecond)
		c, d := small.get(t, large), large.get(t, small)
		if !c.Dialled() || d.Dialled() {
			t.Error("the connection of the larger key stayed")
		}
		small.has(t, 2, 2, 0)

		time.Sleep(3 * time.Second)
		small.has(t, 1, 2, 1)
		large.has(t, 1, 2, 1)
		endedWith(t, small.first(&small.closed), codeDuplicate)
		if !large.first(&large.closed).Dialled() {
			t.Error("the drained connection was closed by who did not dial it")
		}
		if c.Err() != nil || d.Err() != nil {
			t.Error("the one that stayed ended")
		}
	})
}

// A superseded connection lasts as long as it has a user or holder.
func TestPoolDrainsNoEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newMembers(t).pair(PoolConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { small.get(t, large) })
		wg.Go(func() { large.get(t, small) })
		wg.Wait()
		time.Sleep(100 * time.Millisecond)
		loser := large.first(&large.opened)
		if !loser.Dialled() {
			t.Fatal("the larger key's own dial was not first")
		}
		release := loser.Hold()
		time.Sleep(10 * time.Second)
		if loser.Err() != nil {
			t.Fatal("closed while held")
		}
		release()
		release() // only the first counts
		for range 20 {
			time.Sleep(500 * time.Millisecond)
			loser.Touch()
		}
		if loser.Err() != nil {
			t.Fatal("closed while used")
		}
		time.Sleep(2 * time.Second)
		endedWith(t, loser, codeDuplicate)
	})
}

// If their connection comes while ours is still being dialled, there is no second.
func TestPoolTakesTheFasterDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newMembers(t).pair(PoolConfig{})
		var wg sync.WaitGroup
		for _, late := range []struct{ first, second *member }{{small, large}} {
			wg.Go(func() { late.first.get(t, late.second) })
			time.Sleep(50 * time.Millisecond) // of the 80 that a handshake takes
			wg.Go(func() {
				if c := late.second.get(t, late.first); c.Dialled() {
					t.Error("waited for its own dial")
				}
			})
			wg.Wait()
		}
		time.Sleep(3 * time.Second)
		small.has(t, 1, 1, 0)
		large.has(t, 1, 1, 0)
	})
}

// A dial ends with its last caller, also while it waits for its turn; but a dial that
// has begun has its time to linger.
func TestPoolDialEndsWithItsCallers(t *testing.T) {
	for _, linger := range []time.Duration{0, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var dials atomic.Int32
			ended := make(chan error, 10)
			p := NewPool(PoolConfig{MaxDials: 1, Linger: linger, Dial: func(ctx context.Context, _ PublicKey) (*Conn, error) {
				dials.Add(1)
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, context.Cause(ctx)
			}})
			defer p.Close()
			peers := func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.peers)
			}
			var wg sync.WaitGroup
			call := func(peer byte, d time.Duration) {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), d)
					defer cancel()
					_, err := p.Get(ctx, PublicKey{peer})
					want(t, err, context.DeadlineExceeded)
				})
			}
			call(1, 200*time.Millisecond)
			call(1, 100*time.Millisecond)
			time.Sleep(10 * time.Millisecond)
			for i := range 5 {
				call(2, 10*time.Millisecond)
				call(byte(3+i), 20*time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if peers() != 1 || dials.Load() != 1 || len(ended) != 0 {
				t.Errorf("%d dials are left, %d began, %d of them ended", peers(), dials.Load(), len(ended))
			}
			wg.Wait()
			begin, cause := time.Now(), <-ended
			if took := time.Since(begin); took != max(linger-200*time.Millisecond, 0) {
				t.Errorf("the dial ended %v after its last caller had left", took)
			}
			if errors.Is(cause, ErrTimeout) != (linger > 0) {
				t.Errorf("it ended for %v", cause)
			}
			synctest.Wait()
			if peers() != 0 || dials.Load() != 1 {
				t.Errorf("%d peers are left, %d dials began", peers(), dials.Load())
			}
		})
	}
}

// A new caller of a lingering dial shares it, and the dial gets its full time again.
func TestPoolLingeringDialIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a, b := ms.join(PoolConfig{Linger: time.Second}), ms.join(PoolConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := a.Get(ctx, b.t.PublicKey())
		want(t, err, context.DeadlineExceeded)
		a.get(t, b)
		time.Sleep(5 * time.Second)
		a.has(t, 1, 1, 0)
		if n := a.dials.Load(); n != 1 {
			t.Errorf("%d dials", n)
		}
	})
}

// A peer that comes again after a while has a reason: the newer connection is the
// one that lives.
func TestPoolNewerSupersedes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newMembers(t).pair(PoolConfig{})
		old := small.get(t, large)
		time.Sleep(6 * time.Second)
		c, err := large.t.Dial(t.Context(), small.t.LocalAddr(), small.t.PublicKey())
		check(t, err)
		large.Add(c)
		time.Sleep(100 * time.Millisecond)
		if got := small.get(t, large); got == old || got.Dialled() {
			t.Error("the older connection is still given")
		}
		time.Sleep(2 * time.Second)
		endedWith(t, old, codeDuplicate)
	})
}

// A connection that has ended before the pool has it supersedes nothing.
func TestPoolDeadNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a, b := ms.join(PoolConfig{}), ms.join(PoolConfig{})
		c := a.get(t, b)
		time.Sleep(2 * crossWithin)
		late, err := a.t.Dial(t.Context(), b.t.LocalAddr(), b.t.PublicKey())
		check(t, err)
		late.Close(codeLeaving, "")
		a.Add(late)
		if now, ok := a.Lookup(b.t.PublicKey()); !ok || now != c {
			t.Error("the one that lives is given no more")
		}
	})
}

// A virtual connection is kept because it survives a change of network, but not when
// the peer dials again by an ordinary one: it may have restarted and lost the other.
func TestPoolVirtualSupersedes(t *testing.T) {
	p, begun := &Pool{}, time.Now()
	at := func(after time.Duration, virtual bool) *Conn {
		c := &Conn{opened: begun.Add(after)}
		if virtual {
			c.route = &route{}
		}
		return c
	}
	for _, c := range []struct {
		newcomer, old *Conn
		want          bool
	}{
		{at(time.Second, true), at(0, false), true},
		{at(time.Second, false), at(0, true), false},
		{at(time.Minute, true), at(0, false), true},
		{at(time.Minute, false), at(0, true), true},
	} {
		if got := p.supersedes(c.newcomer, c.old); got != c.want {
			t.Errorf("%v after the other, virtual %v: it takes its place: %v", c.newcomer.opened.Sub(begun), c.newcomer.Virtual(), got)
		}
	}
}

// Get returns a retired connection while there is no other. It is not closed as long
// as it has a holder.
func TestPoolRetires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newMembers(t).pair(PoolConfig{IdleAccepted: -1})
		old := a.get(t, b)
		release := old.Hold()
		time.Sleep(time.Second)
		a.Retire(old)
		if c, ok := a.Lookup(b.t.PublicKey()); !ok || c != old || !c.Retired() {
			t.Error("it is not found any more")
		}
		c := a.get(t, b)
		if c == old || a.get(t, b) != c {
			t.Error("it is still given")
		}
		time.Sleep(10 * time.Second)
		a.has(t, 2, 2, 0)
		time.Sleep(time.Minute) // the other goes unused
		a.has(t, 1, 2, 1)
		endedWith(t, c, codeIdle)
		if c, ok := a.Lookup(b.t.PublicKey()); !ok || c != old {
			t.Error("it is not found when there is no other any more")
		}
		c = a.get(t, b)
		a.has(t, 2, 3, 1)
		release()
		time.Sleep(2 * time.Second)
		a.has(t, 1, 3, 2)
		endedWith(t, old, codeDuplicate)
		if got, ok := a.Lookup(b.t.PublicKey()); !ok || got != c {
			t.Error("the other is not found")
		}

		check(t, b.t.Close())
		time.Sleep(time.Second)
		if _, err := a.Get(t.Context(), b.t.PublicKey()); err == nil {
			t.Error("it is given although it has ended")
		}
	})
}

func TestPoolReturnsRetiredWithoutAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		a, b := ms.join(PoolConfig{MaxIn: 1, MaxOut: 1}), ms.join(PoolConfig{})
		c := a.get(t, b)
		ms.addrs.Store(b.t.PublicKey(), netip.AddrPort{}) // no peer listens here
		a.Retire(c)
		if a.get(t, b) != c || a.dials.Load() != 2 {
			t.Error("another cannot be had, and it is not given")
		}
		defer c.Hold()()
		defer a.get(t, ms.join(PoolConfig{})).Hold()()
		if a.get(t, b) != c || a.dials.Load() != 3 {
			t.Error("there is no room for another, and it is not given")
		}
	})
}

// A peer has no more than a few connections, held or not.
func TestPoolCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newMembers(t).pair(PoolConfig{})
		var all []*Conn
		for range maxPerPeer + 2 {
			c, err := large.t.Dial(t.Context(), small.t.LocalAddr(), small.t.PublicKey())
			check(t, err)
			defer c.Hold()()
			large.Add(c)
			all = append(all, c)
			time.Sleep(6 * time.Second)
		}
		large.has(t, maxPerPeer, len(all), 2)
		small.has(t, maxPerPeer, len(all), 2)
		for i, c := range all {
			if c.alive() != (i >= 2) {
				t.Errorf("the %d. of %d lives: %v", i+1, len(all), c.alive())
			}
		}
	})
}
