package quic

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// # Paths beneath a live connection
//
// The problem: two peers begin to speak through a relay, punch a hole, move to
// it, lose it when one of them roams or its NAT reboots, and go back to the
// relay; no stream may notice.
//
// QUIC migrates by itself (RFC 9000 §9), but only the client may begin it: an
// acceptor whose own network has changed can only wait. In quic-go each
// new path of the client is another Transport with its own socket, a switch
// takes a round trip of probing and begins again with slow start, and the server
// follows to three places in five seconds. That was tried and works for one
// change from relay to direct; healing from both sides at once does not.
//
// So this package hides addresses from QUIC. A peer that is reached by more than a
// plain address has a made-up one, in a random /48 of this process. quic-go sees
// only that one, so it never migrates. Beneath, a route says which path packets
// take at the moment, and either side may change its direction at any time; this
// needs no negotiation, as QUIC authenticates each packet wherever it comes from.
// The price: RTT and congestion window are carried from one path to the other and
// corrected within a round trip or two. Packets still in flight on the slow path
// when others begin to take the fast one may be taken for lost and sent twice.
//
// # Whose packet is it?
//
// One socket carries ordinary connections and these, and one peer at one address
// may have both, so a source address does not tell. Connection IDs do, as each
// side chooses those that it is sent: the first bit of our IDs says which kind the
// connection is. The two kinds live in two quic-go Transports, the second of which
// has no socket but a queue (inner). This is clear, and ordinary connections
// pay only two comparisons per packet. One Transport for both kinds, with made-up
// addresses, was rejected because it is slower, and because quic-go takes a packet
// with the wrong label for a migration.
//
// A packet for the second kind belongs to the peer whose connection had that ID
// before, else whose path has that source address, else the peer whose IDs were
// last seen from there (quic-go draws new ones every 10,000 packets, without telling
// whose). Only its first packets, whose ID a stranger has drawn, need the address of
// a path; from elsewhere they begin an ordinary connection. IDs of virtual
// connections carry a seal, so that one from before a restart, which is to be reset,
// differs from one that moves and is new: quic-go would follow the latter to its
// address, and the path were out of our hands.
//
// A Port is read by itself, and all but its probes and the packets of peers with a
// path, or IDs known to be theirs, is dropped.
//
// # When a path dies
//
// Nothing is sent to find out. Three packets in half a second and no answer, or
// something by relay after half a second without anything from there, make the path
// quiet: packets go both ways until one comes from there. The last packets
// that went by the path alone, and the first by relay, are repeated there: see repeat.go.
//
// # Reflection
//
// An address receives unsolicited packets only once it is validated, which is
// the caller's business (SetPath; by probes that are authenticated and carry a
// nonce).

// PathKind is how packets reach a peer.
type PathKind uint8

const (
	Direct  PathKind = iota // an address that accepts packets from any peer
	Punched                 // an address that works since both sides sent
	Relayed                 // through a relay, by Config.Relay
)

func (k PathKind) String() string {
	switch k {
	case Direct:
		return "direct"
	case Punched:
		return "punched"
	case Relayed:
		return "relayed"
	}
	return fmt.Sprintf("PathKind(%d)", k)
}

// A Path says how packets to a peer go.
type Path struct {
	Kind PathKind
	Addr netip.AddrPort // where to; none if relayed
	Via  *Port          // where from; nil: the transport's own socket

	// Quiet: packets went to Addr and nothing came from there for half a second.
	// They go by relay as well, until something comes.
	Quiet bool
}

func (p Path) String() string {
	s := p.Kind.String()
	if p.Kind != Relayed {
		s += " " + p.Addr.String()
	}
	if p.Quiet {
		s += " (quiet)"
	}
	return s
}

// errNoPaths: the transport was made without Config.Relay.
var errNoPaths = errors.New("quic: Config.Relay is missing: there are no paths to choose from")

// Virtual returns the made-up address of a peer, for Dial: a connection to it
// goes by relay until SetPath says otherwise, and its packets may change their
// way at any time. It is the same as long as it is in use or was within two
// minutes; a path that is set for longer than that without a connection is
// forgotten. The error is ErrBusy when there are thousands in use.
func (t *Transport) Virtual(key PublicKey) (netip.AddrPort, error) {
	r, err := t.route(key)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return r.name, nil
}

// SetPath moves all virtual connections to a peer, present and future, on our
// side: packets are accepted from every path. The address of a path that is not
// Relayed must be validated: it has answered, under the peer's key, a request with a
// nonce that was sent there. So must a path by a port. ErrClosed means that the port
// has been closed.
func (t *Transport) SetPath(key PublicKey, p Path) error {
	r, err := t.route(key)
	if err != nil {
		return err
	}
	p.Addr = netip.AddrPortFrom(p.Addr.Addr().Unmap(), p.Addr.Port())
	switch {
	case p.Kind == Relayed:
		p.Addr, p.Via = netip.AddrPort{}, nil
	case p.Kind > Relayed, !sendable(p.Addr):
		return fmt.Errorf("quic: no packet can go %v", p)
	}
	return t.paths.move(r, p)
}

// PathTo tells how packets go to a peer that Virtual or SetPath was called for, or
// that called by relay.
func (t *Transport) PathTo(key PublicKey) (Path, bool) {
	if t.paths == nil {
		return Path{}, false
	}
	r := t.paths.known(key)
	if r == nil {
		return Path{}, false
	}
	return r.path(), true
}

// LastHeard returns when a packet of the peer last came by its path, or when that became
// the path; the zero time if packets are relayed, or PathTo knows nothing of the peer.
func (t *Transport) LastHeard(key PublicKey) time.Time {
	if t.paths == nil {
		return time.Time{}
	}
	r := t.paths.known(key)
	if r == nil {
		return time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.direct == nil {
		return time.Time{}
	}
	return r.heard
}

// Deliver hands over a QUIC packet of a peer that came by relay. It copies the
// packet and never blocks: what finds no room is dropped.
func (t *Transport) Deliver(from PublicKey, packet []byte) {
	if t.paths != nil {
		t.paths.deliver(from, packet)
	}
}

// SendProbe sends a small packet that is not QUIC's from the transport's socket:
// its first byte must be below 0x40, and it has at most 1200. At the other side it
// goes to Config.Probe. An error means that this machine could not send it.
func (t *Transport) SendProbe(to netip.AddrPort, b []byte) error {
	return sendProbe(t.c.Conn, to, b)
}

// Path tells how packets go to the peer at present; of an ordinary connection, to
// RemoteAddr. Config.PathChanged tells of changes.
func (c *Conn) Path() Path {
	if c.route == nil {
		return Path{Kind: Direct, Addr: addrPort(c.q.RemoteAddr())}
	}
	return c.route.path()
}

// Virtual tells whether the connection's packets can change their way.
func (c *Conn) Virtual() bool { return c.route != nil }

func sendable(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() && !isName(a.Addr())
}

// route finds or makes the route to a peer.
func (t *Transport) route(key PublicKey) (*route, error) {
	switch {
	case t.paths == nil:
		return nil, errNoPaths
	case key == t.self:
		return nil, fmt.Errorf("%w: it is our own", ErrWrongKey)
	}
	if r := t.paths.make(time.Now(), key, maxRoutes); r != nil {
		return r, nil
	}
	return nil, ErrBusy
}
