package quic

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A path is quiet when quietPackets were sent in quietAfter and nothing came.
	// One packet alone may have wanted no answer.
	quietAfter   = 500 * time.Millisecond
	quietPackets = 3

	// anewAfter: so long after the last packet one more begins a new wait.
	anewAfter = 5 * time.Second

	// hopelessAfter: a path that is quiet for so long gets one packet in
	// hopelessEvery, in case it comes back.
	hopelessAfter = 10 * time.Second
	hopelessEvery = time.Second

	strayEvery = time.Second
	maxStrays  = 8  // remembered in that time, one after another
	maxIDs     = 16 // connection IDs remembered of a peer
	maxWaiting = queuedSize / 2
)

// A route is how packets to one peer go, of all its virtual connections.
type route struct {
	key  PublicKey
	name netip.AddrPort // made up
	addr *net.UDPAddr   // the same for quic-go; never changed

	waiting atomic.Int32 // packets from the peer that quic-go has not read yet

	// Guarded by paths.mu.
	conns int
	used  time.Time // last asked for
	ids   [maxIDs]uint32
	next  int
	seen  origin // its key in paths.strays

	mu     sync.Mutex // guards what follows; a leaf
	kind   PathKind
	direct *target // nil: relayed

	// Of direct: when the first of sent packets went that nothing came after, and
	// the last.
	since, last time.Time
	sent        int
	heard       time.Time // when something came from there, or it became the path
	quiet       bool
	lost        time.Time // when a path last became quiet; zero: something has come since by it, or the next

	kept  []kept      // packets that nothing has come after
	again *time.Timer // calls paths.repeat; nil: none has been needed

	stray   origin // remembered last
	strayed time.Time
	strays  int // since then
}

// An origin is where packets come from: a real address, as seen by one of our
// sockets.
type origin struct {
	via  *Port
	addr netip.AddrPort
}

func (p Path) origin() origin { return origin{p.Via, p.Addr} }

// A target is an origin to send to.
type target struct {
	origin
	addr *net.UDPAddr
}

func newTarget(o origin) target { return target{o, net.UDPAddrFromAddrPort(o.addr)} }

func (r *route) path() Path {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.direct == nil {
		return Path{Kind: Relayed}
	}
	return Path{Kind: r.kind, Addr: r.direct.origin.addr, Via: r.direct.via, Quiet: r.quiet}
}

// set takes p for the path, and tells whether that is a change.
func (r *route) set(now time.Time, p Path) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.direct
	changed = r.quiet
	r.sent, r.quiet, r.heard = 0, false, now
	if p.Kind == Relayed {
		r.direct, r.kind = nil, Relayed
		return changed || was != nil
	}
	changed = changed || was == nil || was.origin != p.origin() || r.kind != p.Kind
	t := newTarget(p.origin())
	r.direct, r.kind = &t, p.Kind
	return changed
}

// Ways are where one packet goes.
type ways struct {
	direct *target // nil: nowhere
	relay  bool
	turned bool // the path has just become quiet
	repeat bool // the caller must call paths.repeat
}

// choose says where packets go, all of size bytes but the last.
func (r *route) choose(w *ways, now time.Time, b []byte, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.direct == nil {
		w.relay = true
		if r.repeats(now) {
			r.keepAll(w, now, b, size)
		}
		return
	}
	if r.sent == 0 || (!r.quiet && now.Sub(r.last) > anewAfter) {
		r.since, r.sent = now, 0
	}
	if now.Sub(r.last) > anewAfter {
		r.kept = r.kept[:0]
	}
	silence := now.Sub(r.since)
	packets := (len(b) + size - 1) / size
	r.sent += packets
	if !r.quiet && silence >= quietAfter && r.sent >= quietPackets {
		r.quiet, r.lost, w.turned, w.repeat = true, now, true, len(r.kept) > 0
	}
	w.relay = r.quiet
	if !r.quiet || r.repeats(now) {
		r.keepAll(w, now, b, size)
	}
	if silence >= hopelessAfter && r.quiet && (packets > 1 || now.Sub(r.last) < hopelessEvery) {
		return
	}
	r.last = now
	w.direct = r.direct
}

// keepAll keeps copies of packets, with r.mu held.
func (r *route) keepAll(w *ways, now time.Time, b []byte, size int) {
	was := len(r.kept)
	for len(b) > 0 && len(r.kept) < maxKept {
		n := min(size, len(b))
		r.keep(now, b[:n], w.relay)
		b = b[n:]
	}
	w.repeat = w.repeat || was == 0 && r.repeats(now)
}

// came notes a packet from the peer at a real address. It tells whether the path has
// just come back, and whether the address is news.
func (r *route) came(now time.Time, from origin) (turned, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.direct != nil && r.direct.origin == from:
		r.sent, r.heard = 0, now
		turned, r.quiet = r.quiet, false
		r.lost, r.kept = time.Time{}, r.kept[:0]
	case now.Sub(r.strayed) >= strayEvery:
		r.stray, r.strayed, r.strays, news = from, now, 1, true
	case r.stray != from && r.strays < maxStrays:
		r.stray, news = from, true
		r.strays++
	}
	return turned, news
}

// relayed notes a packet from the peer that came by relay. Its own path is quiet
// then, if ours is not alive: it tells whether ours has just become so.
func (r *route) relayed(now time.Time) (turned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.direct == nil || r.quiet || now.Sub(r.heard) < quietAfter {
		return false
	}
	if r.sent == 0 {
		r.since = now
	}
	r.sent++ // nothing came after what is to come
	r.quiet, r.lost = true, now
	return true
}
