// Package service lets a node serve as a relay (SPEC.md §5): it answers RESERVE and CALL,
// forwards calls, and keeps the connections of peers that hold a reservation. Package relay
// decides what is allowed.
package service

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// A Link is a connection to a peer. Two values are equal if they are the same connection.
type Link interface {
	relay.Link
	ID() wire.PeerID
	// RemoteAddr returns the address at which the connection was made, and CurrentAddr where
	// the peer's packets come from now.
	RemoteAddr() netip.AddrPort
	CurrentAddr() netip.AddrPort
	// Hold keeps the connection open, although it is idle, until release is called.
	Hold() (release func())
	// Call sends a request and returns the reply, which may be a wire.Error, and how long
	// it took.
	Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error)
	// Reply and Refuse answer the request with that ID.
	Reply(id uint64, m wire.Message) error
	Refuse(id uint64, code wire.Code, message string) error
}

// A Host is the node that relays. Goroutines share it.
type Host interface {
	// Relays reports whether the node relays, and MayReserve whether it grants reservations,
	// as callers can probably reach it.
	Relays() bool
	MayReserve(now time.Time) bool
	// ReadDatagrams starts to read the datagrams of a link, once, and gives those that are
	// to be relayed to [relay.Server.Forward].
	ReadDatagrams(l Link)
}

// A Config has the parts that a Service works with. All are needed.
type Config struct {
	Host       Host
	Background *background.Group
	RPCTimeout time.Duration // of one request
}

// maxForwarding bounds the calls that are being forwarded.
const maxForwarding = 256

// A Service serves as a relay. Make it with [New]. Goroutines may share it.
type Service struct {
	*relay.Server
	Config
	forwarding *background.Slots

	mu    sync.Mutex
	holds map[Link]func() // releases the connection of a peer that holds a reservation
}

// New makes a Service without reservations. It starts nothing: the node calls [Service.Tend]
// every few seconds.
func New(c Config) *Service {
	return &Service{
		Server:     relay.NewServer(relay.Limits{}),
		Config:     c,
		forwarding: c.Background.Slots(maxForwarding),
		holds:      make(map[Link]func()),
	}
}

// LinkEnded forgets a link that has ended.
func (s *Service) LinkEnded(l Link) {
	s.Detach(l.ID(), l)
	s.release(l)
}

// Tend drops reservations and flows that have ended.
func (s *Service) Tend(now time.Time) {
	s.Expire(now)
	s.mu.Lock()
	held := make([]Link, 0, len(s.holds))
	for l := range s.holds {
		held = append(held, l)
	}
	s.mu.Unlock()
	for _, l := range held {
		if !s.Reserved(l.ID(), now) {
			s.release(l)
		}
	}
}

func (s *Service) hold(l Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[l] == nil {
		s.holds[l] = l.Hold()
	}
}

func (s *Service) release(l Link) {
	s.mu.Lock()
	release := s.holds[l]
	delete(s.holds, l)
	s.mu.Unlock()
	if release != nil {
		release()
	}
}
