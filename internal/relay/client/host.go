package client

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/peerref"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// A Config has the parts that a Client works with. All are needed.
type Config struct {
	Self       wire.PeerID
	Host       Host
	Background *background.Group
	Logger     *slog.Logger
	RPCTimeout time.Duration // of one request, and of the dial of a relay

	NoAnswer    error // of requests that the peer has left unanswered
	Stalled     error // of requests that streams of the same connection hold up
	Unreachable error // of connections to peers that cannot be reached
	Closed      error // of what fails because the node is closed
	// Unexpected makes the error for a reply of another type than the request's.
	Unexpected func(id wire.PeerID, reply wire.Message) error
}

// A Link is a connection to a peer that may relay. Two values are equal if they are the same
// connection.
type Link interface {
	relay.Link
	ID() wire.PeerID
	Ref() *peerref.Ref
	// RemoteAddr returns the address at which the connection was made.
	RemoteAddr() netip.AddrPort
	// IsVirtual reports whether the connection goes through relays itself.
	IsVirtual() bool
	// Began returns when the connection was made.
	Began() time.Time
	// IsUp reports whether the peer has sent HELLO.
	IsUp() bool
	// Done is closed when the connection has ended.
	Done() <-chan struct{}
	Close()
	// Hold keeps the connection open, although it is idle, until release is called.
	Hold() (release func())
	// Touch marks the connection as used.
	Touch()
	// Call sends a request and returns the reply, which may be a wire.Error, and how long
	// it took.
	Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error)
	// Reply and Refuse answer the request with that ID.
	Reply(id uint64, m wire.Message) error
	Refuse(id uint64, code wire.Code, message string) error
	// RTT returns the smoothed round-trip time, 0 if it is not known.
	RTT() time.Duration
	// PacketsReceived counts the packets of the connection.
	PacketsReceived() uint64
}

// A Host is the node that uses relays. Goroutines share it.
type Host interface {
	// WantsRelays reports whether peers need a relay to reach this node.
	WantsRelays() bool
	// IsIsolated reports whether the node has no peer that it could ask.
	IsIsolated() bool
	// Nearest looks up the servers nearest to this node's key, the nearest first.
	Nearest(ctx context.Context) ([]*peerref.Ref, error)
	// Connect connects to a peer at its known addresses.
	Connect(ctx context.Context, id wire.PeerID) (Link, error)
	// Reach connects to a peer and looks up its addresses if necessary.
	Reach(ctx context.Context, id wire.PeerID) (Link, error)
	// IsConnected reports whether there is a connection to the peer, and IsRelayed whether
	// there is one that goes through relays.
	IsConnected(id wire.PeerID) bool
	IsRelayed(id wire.PeerID) bool
	// IsInUse reports whether requests to the peer of a link use this link.
	IsInUse(l Link) bool
	// Retire takes a link out of use, so that the next request to the peer gets another.
	// It returns false if the link is not in use.
	Retire(l Link) bool

	// ReadDatagrams starts to read the datagrams of a link, once, and gives those that a
	// relay sent to [Client.HandleDatagram].
	ReadDatagrams(l Link)
	// Deliver takes in a packet of QUIC from a peer. It keeps no reference to it.
	Deliver(peer wire.PeerID, packet []byte)
	// AddCredit notes that a peer has sent so many bytes that only add credit.
	AddCredit(peer wire.PeerID, size int)

	// Answered notes that the peer has answered a request, and how long that took.
	Answered(l Link, request wire.Message, rtt time.Duration)
	// Ping pings a peer in the background.
	Ping(id wire.PeerID)
	// RelaysInRecord returns the relays that the peer's own record names.
	RelaysInRecord(id wire.PeerID) []wire.PeerID
	// ReservationsChanged is called when the node has gained or lost a reservation.
	ReservationsChanged()

	// AllowCall reports whether a relay may forward another call to this node now.
	AllowCall(l Link, now time.Time) bool
	// Answer answers a call that a relay has forwarded.
	Answer(l Link, call wire.Call) (wire.Message, wire.Code)
}
