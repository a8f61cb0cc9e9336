package node

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/traversal"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// elsewhere stands for the address of a peer that was called through a relay, which
// has none that means anything to others: a global one, from which nothing comes (RFC
// 6666).
var elsewhere = netip.AddrPortFrom(netip.MustParseAddr("100::"), 0)

// PathKind is how packets reach a peer.
type PathKind uint8

const (
	PathUnknown PathKind = iota // of a connection that is not the node's, or is wrapped in another
	PathDirect                  // to an address that every peer could send to
	PathPunched                 // to an address that works because both sides have sent
	PathRelayed                 // through another node
)

func (k PathKind) String() string {
	switch k {
	case PathDirect:
		return "direct"
	case PathPunched:
		return "punched"
	case PathRelayed:
		return "relayed"
	}
	return "unknown"
}

// A Path is how packets reach a peer at present. It may change at any time while the
// connection and its streams live on. Paths can be compared.
type Path struct {
	Kind  PathKind
	Addr  wire.Addr   // of the peer; "" if relayed
	Relay wire.PeerID // the relay; zero if there is none
	Quiet bool        // nothing has arrived on the path for a while; packets also go by relay
}

// String returns "direct 192.0.2.1:4774", "relayed by 12D3KooW…" and the like.
func (p Path) String() string {
	s := p.Kind.String()
	if ap, ok := p.Addr.AddrPort(); ok {
		s += " " + ap.String()
	} else if !p.Relay.IsZero() {
		s += " by " + p.Relay.String()
	}
	if p.Quiet {
		s += " (quiet)"
	}
	return s
}

func (n *Node) pathOf(c *quic.Conn) Path {
	return n.nodePath(wire.PeerID(c.RemoteKey()), c.Path())
}

func (n *Node) nodePath(id wire.PeerID, p quic.Path) Path { return publicPath(n.sessions.Path(id, p)) }

// publicPath says in the terms of this package what traversal says. The zero Path stays
// zero.
func publicPath(p traversal.Path) Path {
	path := Path{Relay: p.Relay, Quiet: p.Quiet}
	switch {
	case p == traversal.Path{}:
		return Path{}
	case p.Kind == quic.Direct:
		path.Kind = PathDirect
	case p.Kind == quic.Punched:
		path.Kind = PathPunched
	default:
		path.Kind = PathRelayed
		return path
	}
	path.Addr = wire.AddrFrom(p.Addr)
	return path
}

// PathEvent tells that packets to a peer that was called, or has called, through a
// relay go another way than before.
type PathEvent struct {
	Peer      wire.PeerID
	Path, Was Path // Was is zero for the first
}

func (e PathEvent) String() string { return fmt.Sprintf("path to %s: %s", e.Peer, e.Path) }

// CallEvent tells of what becomes of a call.
type CallEvent struct {
	Peer    wire.PeerID
	Relay   wire.PeerID   // through which it goes
	Inbound bool          // the peer called us
	What    string        // "call", "answered", "connected", "path", "no path" or "failed"
	Addr    wire.Addr     // of a path
	Took    time.Duration // since the call began
	Err     error         // of one that failed
}

func (e CallEvent) String() string {
	s := fmt.Sprintf("call to %s: %s", e.Peer, e.What)
	if e.Inbound {
		s = fmt.Sprintf("call from %s: %s", e.Peer, e.What)
	}
	if ap, ok := e.Addr.AddrPort(); ok {
		s += " " + ap.String()
	}
	if e.Took > 0 {
		s += fmt.Sprintf(", after %v", e.Took.Round(100*time.Microsecond))
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	return s
}

func (n *Node) callEvent(e CallEvent) {
	if e.Err != nil {
		n.config.Logger.Debug("call", "peer", e.Peer, "came", e.Inbound, "what", e.What, "relay", e.Relay, "took", e.Took, "err", e.Err)
	} else {
		n.config.Logger.Debug("call", "peer", e.Peer, "came", e.Inbound, "what", e.What, "relay", e.Relay, "addr", e.Addr, "took", e.Took)
	}
	if t := n.config.Trace; t != nil && t.Call != nil {
		t.Call(e)
	}
}
