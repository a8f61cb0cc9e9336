package quic

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxRoutes   = 4096
	forgetAfter = 2 * time.Minute
)

// paths are the routes of a transport, and what tells whose a packet is.
type paths struct {
	c      *Config
	secret [32]byte       // of names
	ids    connIDs        // of virtual connections
	out    net.PacketConn // the socket, as wrapped
	in     *inner

	mu     sync.RWMutex // guards what follows; before a route's
	byKey  map[PublicKey]*route
	byName map[netip.Addr]*route
	byAddr map[origin]*route // validated addresses
	byID   map[uint32]*route // connection IDs, all of virtual connections
	strays map[origin]*route // addresses where they were seen, one for each
	swept  time.Time
	ports  map[*Port]struct{}
	coming int  // ports about to be
	shut   bool // no more ports

	reading sync.WaitGroup // one per port
}

func newPaths(c *Config) *paths {
	p := &paths{
		c:      c,
		byKey:  map[PublicKey]*route{},
		byName: map[netip.Addr]*route{},
		byAddr: map[origin]*route{},
		byID:   map[uint32]*route{},
		strays: map[origin]*route{},
		ports:  map[*Port]struct{}{},
	}
	rand.Read(p.secret[:])
	p.ids.virtual = true
	rand.Read(p.ids.secret[:])
	p.in = newInner(p, c.Conn.LocalAddr())
	return p
}

// names is the network of made-up addresses: unique local (RFC 4193 §3.1), and
// drawn at random for this process, so that no packet can come from one.
var names = func() (net [6]byte) {
	rand.Read(net[:])
	net[0] = 0xfd
	return net
}()

func isName(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	ip := a.As16()
	return [6]byte(ip[:6]) == names
}

func (p *paths) nameOf(key PublicKey) netip.AddrPort {
	h := sha256.New()
	h.Write(p.secret[:])
	h.Write(key[:])
	var ip [16]byte
	copy(ip[:], names[:])
	copy(ip[8:], h.Sum(nil))
	return netip.AddrPortFrom(netip.AddrFrom16(ip), 1)
}

func (p *paths) known(key PublicKey) *route {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byKey[key]
}

func (p *paths) named(a netip.Addr) *route {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byName[a]
}

// make finds or makes the route of key; nil if there are limit.
func (p *paths) make(now time.Time, key PublicKey, limit int) *route {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.byKey[key]
	if r == nil {
		if len(p.byKey) >= limit && now.Sub(p.swept) >= time.Second {
			p.swept = now
			p.sweep(now)
		}
		if len(p.byKey) >= limit {
			return nil
		}
		r = &route{key: key, name: p.nameOf(key), kind: Relayed}
		r.addr = net.UDPAddrFromAddrPort(r.name)
		p.byKey[key], p.byName[r.name.Addr()] = r, r
	}
	r.used = now
	return r
}

// sweep removes unused routes. The caller holds p.mu.
func (p *paths) sweep(now time.Time) {
	for key, r := range p.byKey {
		if r.conns > 0 || now.Sub(r.used) < forgetAfter {
			continue
		}
		delete(p.byKey, key)
		delete(p.byName, r.name.Addr())
		for _, id := range r.ids {
			if p.byID[id] == r {
				delete(p.byID, id)
			}
		}
		if a := r.path().origin(); p.byAddr[a] == r {
			delete(p.byAddr, a)
		}
		if p.strays[r.seen] == r {
			delete(p.strays, r.seen)
		}
	}
}

// count notes that a connection of r begins or ends. A route that was swept in
// the moment between comes back.
func (p *paths) count(r *route, d int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.conns += d
	r.used = time.Now()
	if p.byKey[r.key] == nil {
		p.byKey[r.key], p.byName[r.name.Addr()] = r, r
	}
}

// move sets the path of r. Of two peers that have proved one address the latter
// has it.
func (p *paths) move(r *route, to Path) error {
	p.mu.Lock()
	if to.Via != nil && !p.has(to.Via) {
		p.mu.Unlock()
		return fmt.Errorf("%w: the port", ErrClosed)
	}
	changed := p.turn(r, to)
	p.mu.Unlock()
	if to.Via != nil {
		to.Via.enlarge()
	}
	if changed {
		p.changed(r)
	}
	return nil
}

// turn is move with p.mu held.
func (p *paths) turn(r *route, to Path) (changed bool) {
	if a := r.path().origin(); p.byAddr[a] == r {
		delete(p.byAddr, a)
	}
	if to.Kind != Relayed {
		p.byAddr[to.origin()] = r
	}
	return r.set(time.Now(), to)
}

func (p *paths) changed(r *route) {
	if p.c.PathChanged != nil {
		p.c.PathChanged(r.key)
	}
}

// learn records the route of one of our connection IDs. It returns false if the ID is
// visibly not one of our IDs.
func (p *paths) learn(r *route, whole []byte) bool {
	id := idOf(whole)
	p.mu.RLock()
	known := p.byID[id]
	p.mu.RUnlock()
	if known != nil {
		return true
	}
	if !p.ids.issued(whole) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID[id] != nil {
		return true
	}
	if old := r.ids[r.next]; p.byID[old] == r {
		delete(p.byID, old)
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % maxIDs
	p.byID[id] = r
	return true
}

// strayed records an address that is not the path, but from which a packet came for
// an ID of r: if the peer takes another ID, this address tells the route. A forged
// address gains nothing, as QUIC authenticates the packets.
func (p *paths) strayed(r *route, at origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.strays[r.seen] == r {
		delete(p.strays, r.seen)
	}
	r.seen = at
	p.strays[at] = r
}

// whose finds the peer to which a packet to our connection ID, from that address,
// belongs; nil if that cannot be told.
func (p *paths) whose(id []byte, from origin) *route {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if r := p.byID[idOf(id)]; r != nil {
		return r
	}
	if r := p.byAddr[from]; r != nil {
		return r
	}
	if r := p.strays[from]; r != nil && p.ids.issued(id) {
		return r
	}
	return nil
}

// owner finds the peer whose connection ID that is known to be.
func (p *paths) owner(id []byte) *route {
	if !isVirtual(id) {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byID[idOf(id)]
}

// at finds the peer whose path has that source address.
func (p *paths) at(from origin) *route {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byAddr[from]
}
