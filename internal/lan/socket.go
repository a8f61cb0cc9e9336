package lan

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"
)

// port is that of multicast DNS, of whoever sends and whoever receives.
const port = 5353

// The groups of RFC 6762 §3.
var (
	group4 = net.IPv4(224, 0, 0, 251)
	group6 = net.ParseIP("ff02::fb")
)

// A socket is one that hears a group. Beside the goroutine that reads, one goroutine
// uses it.
type socket struct {
	v6     bool
	v4conn *ipv4.PacketConn
	v6conn *ipv6.PacketConn
	joined map[int]bool  // by index of interface
	done   chan struct{} // closed when nobody reads it any more
}

// A heard is a packet that has come.
type heard struct {
	packet []byte
	from   netip.AddrPort
	index  int // of the interface; 0 where the system does not say
}

// openSocket opens one of a family. Others on this machine may have such sockets, too:
// for a group Go shares the port.
func openSocket(v6 bool, to chan<- heard) (*socket, error) {
	s := &socket{v6: v6, joined: make(map[int]bool), done: make(chan struct{})}
	network, group := "udp4", group4
	if v6 {
		network, group = "udp6", group6
	}
	c, err := net.ListenUDP(network, &net.UDPAddr{IP: group, Port: port})
	if err != nil {
		return nil, err
	}
	// What a system cannot set, it does without: the index of the interface (Windows),
	// being heard by others on the same machine, the TTL that some insist on (§11).
	if v6 {
		s.v6conn = ipv6.NewPacketConn(c)
		s.v6conn.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true)
		s.v6conn.SetMulticastLoopback(true)
		s.v6conn.SetMulticastHopLimit(255)
	} else {
		s.v4conn = ipv4.NewPacketConn(c)
		s.v4conn.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true)
		s.v4conn.SetMulticastLoopback(true)
		s.v4conn.SetMulticastTTL(255)
	}
	go s.read(to)
	return s, nil
}

// join hears the group on these interfaces; the system forgets those that are gone.
// A nil socket does not.
func (s *socket) join(ifaces []iface) {
	if s == nil {
		return
	}
	joined := make(map[int]bool)
	for _, at := range ifaces {
		switch {
		case !at.speaks(s.v6):
			continue
		case s.joined[at.index]:
		case s.v6:
			s.v6conn.JoinGroup(at.net, &net.UDPAddr{IP: group6}) // it fails if joined before
		default:
			s.v4conn.JoinGroup(at.net, &net.UDPAddr{IP: group4})
		}
		joined[at.index] = true
	}
	s.joined = joined
}

// send sends a packet to the group on an interface. It may be lost anyway.
func (s *socket) send(at *iface, packet []byte) {
	if s == nil || !at.speaks(s.v6) {
		return
	}
	if s.v6 {
		if s.v6conn.SetMulticastInterface(at.net) == nil {
			s.v6conn.WriteTo(packet, nil, &net.UDPAddr{IP: group6, Port: port, Zone: at.net.Name})
		}
		return
	}
	if s.v4conn.SetMulticastInterface(at.net) == nil {
		s.v4conn.WriteTo(packet, nil, &net.UDPAddr{IP: group4, Port: port})
	}
}

// receive reads one packet.
func (s *socket) receive(b []byte) (n int, to net.IP, index int, from net.Addr, err error) {
	if s.v6 {
		n, cm, from, err := s.v6conn.ReadFrom(b)
		if cm != nil {
			to, index = cm.Dst, cm.IfIndex
		}
		return n, to, index, from, err
	}
	n, cm, from, err := s.v4conn.ReadFrom(b)
	if cm != nil {
		to, index = cm.Dst, cm.IfIndex
	}
	return n, to, index, from, err
}

// maxPacket is what RFC 6762 §17 allows, and maxRate how many packets a second are
// looked at; a busy network has some dozens.
const (
	maxPacket = 9000
	maxRate   = 200
)

// read reads until the socket is closed, or fails. Packets that come faster than they
// are dealt with are lost.
func (s *socket) read(to chan<- heard) {
	defer close(s.done)
	limit := rate.NewLimiter(maxRate, 2*maxRate)
	b := make([]byte, 1<<16) // too large a packet is an error on some systems, if there is no room
	for {
		n, dst, index, from, err := s.receive(b)
		if err != nil {
			return
		}
		addr, ok := from.(*net.UDPAddr)
		if !ok || addr.Port != port || n > maxPacket || !limit.Allow() { // port: RFC 6762 §6, §11
			continue
		}
		if dst != nil && !dst.IsMulticast() {
			continue
		}
		ap := addr.AddrPort()
		h := heard{append([]byte(nil), b[:n]...), netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), index}
		select {
		case to <- h:
		default:
		}
	}
}

// close ends the goroutine, too. A nil socket is closed.
func (s *socket) close() {
	switch {
	case s == nil:
		return
	case s.v6:
		s.v6conn.Close()
	default:
		s.v4conn.Close()
	}
	<-s.done
}

// open opens sockets that there are not yet, and those that have failed anew.
func (s *search) open() {
	var failure error
	for i := range s.sockets {
		if at := s.sockets[i]; at != nil {
			select {
			case <-at.done:
				at.close()
				s.sockets[i] = nil
			default:
				continue
			}
		}
		var err error
		if s.sockets[i], err = openSocket(i == 1, s.heard); err != nil {
			failure = err
		}
	}
	none := s.sockets == [2]*socket{}
	if none && !s.failed {
		s.log.Warn("cannot look for peers on the local network", "err", failure, "again every", lookEvery.String())
	}
	s.failed = none
}

func (s *search) send(at *iface, packet []byte) {
	for _, socket := range s.sockets {
		socket.send(at, packet)
	}
}

func (s *search) close() {
	for _, socket := range s.sockets {
		socket.close()
	}
}
