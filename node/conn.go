package node

import (
	"fmt"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Conn describes a connection to a peer, as it is at one moment.
type Conn struct {
	Peer    wire.PeerID
	Agent   string // the peer's program, as it calls itself; untrusted text
	Mode    Mode   // the peer's
	Path    Path   // how packets reach the peer
	Inbound bool   // the peer has dialled or called this node
	Opened  time.Time
	RTT     time.Duration // smoothed; 0: not measured yet
	Streams int           // application streams that are open

	BytesSent, BytesReceived uint64

	// Call is how fast the call was by which this node connected to the peer. It is zero for
	// a connection without a call.
	Call CallInfo
}

// Conns returns the open connections, in no order. A peer may have several for a while: one
// with streams that are in use, and a newer one for requests.
func (n *Node) Conns() []Conn {
	var all []Conn
	for _, l := range n.links.all() {
		if l.IsUp() && !l.isDialBackProbe() {
			all = append(all, n.describe(l))
		}
	}
	return all
}

// Conn returns the connection that requests and new streams to a peer use; false if there is
// none.
func (n *Node) Conn(id wire.PeerID) (Conn, bool) {
	c, ok := n.pool.Lookup(publicKey(id))
	if !ok {
		return Conn{}, false
	}
	l, ok := c.Value.(*link)
	if !ok || !l.IsUp() {
		return Conn{Peer: id, Path: n.pathOf(c), Inbound: !c.Dialled()}, true
	}
	return n.describe(l), true
}

// describe returns the public description of a link that is up.
func (n *Node) describe(l *link) Conn {
	stats := l.conn.Stats()
	c := Conn{
		Peer: l.id, Agent: l.hello.Agent, Mode: Mode(l.mode.Load()), Path: n.pathOf(l.conn),
		Inbound: !l.conn.Dialled(), Opened: l.began, RTT: stats.SmoothedRTT, Streams: int(l.streams.Load()),
		BytesSent: stats.BytesSent, BytesReceived: stats.BytesReceived,
	}
	if info, ok := n.sessions.Info(l.id); ok && l.conn.Virtual() {
		c.Call = CallInfo(info)
	}
	return c
}

// CallInfo says how fast a call was. Times count from when a user first asked for the
// peer: they include the time to find the peer and its relays.
type CallInfo struct {
	Began     time.Time
	Connected time.Duration // until there was a connection
	Direct    time.Duration // until its path was not relayed; zero: it is still relayed
}

// A ConnEvent reports a connection that has opened or closed.
type ConnEvent struct {
	Conn   Conn
	Closed bool
	Err    error // why it has closed
}

func (e ConnEvent) String() string {
	if e.Closed {
		return fmt.Sprintf("disconnected from %s: %v", e.Conn.Peer, e.Err)
	}
	return fmt.Sprintf("connected to %s, %s", e.Conn.Peer, e.Conn.Path)
}

func (n *Node) connEvent(l *link, closed bool, err error) {
	if t := n.config.Trace; t != nil && t.Conn != nil && !l.isDialBackProbe() {
		t.Conn(ConnEvent{Conn: n.describe(l), Closed: closed, Err: err})
	}
}

// Done returns a channel that is closed when the node has closed: by [Node.Close], which may
// still be waiting for goroutines that it ends.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }
