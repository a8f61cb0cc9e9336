// Package lan discovers the peers of a network on the same LAN by multicast DNS (RFC
// 6762) and DNS-SD (RFC 6763). It needs no server, no configuration and no internet.
//
// A peer is a service instance, named by its peer ID. The service name is derived from the
// ALPN of the network, so that peers discover only peers of their own network:
//
//	_kad-15c4a824._udp.local.           PTR  12D3KooW….…
//	12D3KooW…._kad-15c4a824._udp.local. SRV  0 0 4774 12D3KooW….local.
//	                                    TXT  "id=12D3KooW…" "at=192.168.1.5:4774" …
//	12D3KooW….local.                    A    192.168.1.5
//
// Peers read the TXT record only; the other records serve programs that browse. A peer
// sends all records in one packet: twice when an interface comes up, once in answer to a
// question, and with a TTL of zero when it leaves.
//
// Any host on the LAN can send any record, so a discovered address is only a candidate to
// dial, and the QUIC handshake authenticates the peer. The package accepts a packet only
// from the subnet of the interface that received it, and only addresses in that subnet, so
// that a packet never causes a dial outside the LAN. It limits the peers reported per
// minute, by sender and in total. It bounds the size, the rate and the records of packets,
// and remembers nothing from them for longer than a minute.
//
// # Why this is written by hand
//
// Decided in December 2026 against four libraries. With any of them this package would
// keep, by estimate, 400 of its 855 lines: the interfaces, the limits, and the rule that
// an address is in the sender's subnet.
//
//   - libp2p/zeroconf 2.2.0 does not return the sender of a packet, caches every answer for
//     the TTL that the sender chose, blocks its main loop on a receiver that has stopped,
//     fails on hosts without IPv4 or IPv6, does not notice new interfaces, and adds 1.4 MB.
//     grandcat/zeroconf is its ancestor.
//   - hashicorp/mdns 1.0.7 does not return the sender of a packet. It keeps all records of
//     all services that it hears during a query, multicasts another query for each answer
//     that is incomplete (so that one packet with many names triggers traffic), sends no
//     announcements, and its server spins on a failed socket. It adds 2 modules (with
//     miekg/dns) to the 22 that a program on node links, of at most 25.
//   - pion/mdns 2.2.2 adds 2 modules as well, and has 4,639 lines.
//
// This package needs golang.org/x/net alone, which is linked already.
//
// # Limitations
//
// The package does not probe for conflicting names (a name contains the peer's key), sends
// no unicast answers and no known answers, and uses no link-local IPv6 addresses, because
// the addresses of this project have no zone.
package lan

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Discovery finds the peers of one network. Make it with [New]. Its Discover method may
// run several times at once; each call is an independent search.
type Discovery struct {
	service string
	log     *slog.Logger
}

// New returns a Discovery for the network of that name. If log is nil, it logs nothing.
func New(network string, log *slog.Logger) *Discovery {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Discovery{serviceOf(network), log}
}

// Discover finds peers and announces the peer self, until ctx ends. It returns the error
// of ctx, after all its goroutines have ended. Without a network it waits for one. It
// implements node.Discovery.
func (d *Discovery) Discover(ctx context.Context, self wire.PeerID, at func() []netip.AddrPort, found func(wire.PeerID, []netip.AddrPort)) error {
	s := &search{
		Discovery: d, self: self, at: at, found: found,
		heard: make(chan heard, 64),
		talks: make(map[int]*talk),
	}
	defer s.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case h := <-s.heard:
			s.hear(h, time.Now())
		case <-ctx.Done():
			s.leave()
			return ctx.Err()
		}
		timer.Reset(time.Until(s.act(time.Now())))
	}
}

// A search is one call of Discover. The goroutine of that call owns all fields. Each
// socket has another goroutine, which only reads.
type search struct {
	*Discovery
	self  wire.PeerID
	at    func() []netip.AddrPort
	found func(wire.PeerID, []netip.AddrPort)

	heard   chan heard
	sockets [2]*socket // IPv4, IPv6; nil while there is none
	ifaces  []iface
	looked  time.Time     // for interfaces
	talks   map[int]*talk // by index of interface
	limits  limits
	failed  bool // to open a socket, which has been logged
}

// act runs the work that is due, and returns when more will be due.
func (s *search) act(now time.Time) time.Time {
	if s.looked.IsZero() || now.Sub(s.looked) >= lookEvery {
		s.look(now)
	}
	next := s.looked.Add(lookEvery)
	for i := range s.ifaces {
		at := &s.ifaces[i]
		t := s.talks[at.index]
		ask, tell := t.due(now)
		if ask {
			s.send(at, question(s.service))
		}
		if tell {
			s.tell(at, ttl)
		}
		if n := t.next(); n.Before(next) {
			next = n
		}
	}
	return next
}

// look updates the list of interfaces.
func (s *search) look(now time.Time) {
	s.looked = now
	s.open()
	before := s.ifaces
	s.ifaces = interfaces()
	talks := make(map[int]*talk)
	for _, socket := range s.sockets {
		socket.join(s.ifaces)
	}
	for _, at := range s.ifaces {
		t := s.talks[at.index]
		if t == nil || !slices.ContainsFunc(before, at.same) {
			t = newTalk(now)
		}
		talks[at.index] = t
	}
	s.talks = talks
}

// tell announces this peer. It sends nothing if the peer has no address on the LAN.
func (s *search) tell(at *iface, ttl uint32) {
	if doors := at.doors(s.at()); len(doors) > 0 {
		s.send(at, answer(s.service, s.self, doors, ttl))
	}
}

// leave announces that this peer has gone.
func (s *search) leave() {
	for i := range s.ifaces {
		s.tell(&s.ifaces[i], 0)
	}
}

// hear handles one packet.
func (s *search) hear(h heard, now time.Time) {
	i := slices.IndexFunc(s.ifaces, func(at iface) bool { return at.has(h.from, h.index) })
	if i < 0 {
		return
	}
	at := &s.ifaces[i]
	t := s.talks[at.index]
	m, err := parse(h.packet, s.service, s.self)
	if err != nil {
		s.log.Debug("lan: malformed packet", "from", h.from, "err", err)
		return
	}
	if m.asks {
		t.asked(now)
	}
	for _, p := range m.peers {
		if p.id == s.self {
			continue
		}
		t.others++
		where := slices.DeleteFunc(p.at, func(a netip.AddrPort) bool { return !at.reaches(a.Addr()) })
		if len(where) > 0 && s.limits.allow(now, h.from.Addr(), p.id) {
			s.found(p.id, where)
		}
	}
}
