// Package lan finds the peers of a network that are on the same LAN, and lets them
// find this one, by multicast DNS (RFC 6762) and service discovery in it (RFC 6763):
// no server, no configuration, no internet.
//
// A peer is an instance, named by its peer ID, of a service named after the ALPN of
// its network, so that only peers of one network find each other:
//
//	_kad-15c4a824._udp.local.           PTR  12D3KooW….…
//	12D3KooW…._kad-15c4a824._udp.local. SRV  0 0 4774 12D3KooW….local.
//	                                    TXT  "id=12D3KooW…" "at=192.168.1.5:4774" …
//	12D3KooW….local.                    A    192.168.1.5
//
// What a peer needs is in TXT; the rest is for other programs that browse. A peer says
// all of it in one packet, twice when an interface comes up, when somebody asks for
// any of it, and with a TTL of zero when it leaves.
//
// Anybody on the LAN can say anything, so what is heard is worth a try and no more:
// the handshake shows who is there. A packet counts only if it comes from an address
// of the subnet on whose interface it came in; of the addresses in it only those count
// that are in that subnet, so that nobody outside it is ever dialled because of one;
// and there is a limit to how many peers are reported in a minute, of each sender and
// in all. Packets are bounded in size, number and records, and none makes this package
// remember anything for longer than a minute.
//
// It was written because what there is (libp2p/zeroconf 2.2.0) does not tell who sent
// a packet, remembers all it hears for as long as the sender likes, blocks in its main
// loop on a receiver that has gone, leaves goroutines when it ends, spins when a socket
// fails, does not notice new interfaces, fails on hosts that lack IPv4 or IPv6, and
// brings 1.4 MB; this needs only what is linked already.
//
// Not there: probing for names that others have (nobody has our key), unicast answers,
// known answers in questions, IPv6 link-local addresses (an address of ours has no
// zone).
package lan

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A Discovery finds the peers of one network. Make it with [New]; each of its
// Discover calls, of which there may be several at a time, is a search of its own.
type Discovery struct {
	service string
	log     *slog.Logger
}

// New returns a Discovery for the peers of a network, by its name. If log is nil, it
// is silent.
func New(network string, log *slog.Logger) *Discovery {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Discovery{serviceOf(network), log}
}

// Discover finds peers and lets them find the peer self, until ctx ends; its error is
// then that of ctx, and it leaves nothing behind. It goes on when there is no network,
// and waits for one. It is what node.Discovery asks for.
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

// A search is one call of Discover. Its goroutine has all of it; beside it there is
// one for each socket, which only reads.
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
	failed  bool // to open a socket, and said so
}

// lookEvery is how often interfaces are looked for: none tells that it has come.
const lookEvery = 10 * time.Second

// act does what is due, and returns when something will be.
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

// look takes in what has changed of the machine's interfaces.
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

// tell says who and where we are; nothing if nobody can join through us.
func (s *search) tell(at *iface, ttl uint32) {
	if doors := at.doors(s.at()); len(doors) > 0 {
		s.send(at, answer(s.service, s.self, doors, ttl))
	}
}

// leave has others forget us.
func (s *search) leave() {
	for i := range s.ifaces {
		s.tell(&s.ifaces[i], 0)
	}
}

// hear takes in a packet.
func (s *search) hear(h heard, now time.Time) {
	i := slices.IndexFunc(s.ifaces, func(at iface) bool { return at.has(h.from, h.index) })
	if i < 0 {
		return
	}
	at := &s.ifaces[i]
	t := s.talks[at.index]
	m, err := parse(h.packet, s.service, s.self)
	if err != nil {
		s.log.Debug("lan: a packet that is none", "from", h.from, "err", err)
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
