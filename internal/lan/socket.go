package lan

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"
)

// lookEvery is the interval at which interfaces are listed, as the system sends no event.
const lookEvery = 10 * time.Second

// port is the multicast DNS port, of senders and receivers.
const port = 5353

// The groups of RFC 6762 §3.
var (
	group4 = net.IPv4(224, 0, 0, 251)
	group6 = net.ParseIP("ff02::fb")
)

// A socket receives from a multicast group. One goroutine reads; another one calls the
// methods.
type socket struct {
	v6     bool
	v4conn *ipv4.PacketConn
	v6conn *ipv6.PacketConn
	joined map[int]bool  // by index of interface
	done   chan struct{} // closed when the reading goroutine has ended
}

// A heard is a received packet.
type heard struct {
	packet []byte
	from   netip.AddrPort
	index  int // of the interface; 0 if the system does not report it
}

// openSocket opens a socket of one address family. Other processes may have such sockets
// as well: Go shares the port of a multicast group.
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
	// These options are optional, and some systems lack them: the interface index
	// (Windows), delivery to processes on the same machine, and the TTL that some
	// receivers check (§11).
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

// join joins the group on ifaces. The system drops the memberships of interfaces that are
// gone. On a nil socket it does nothing.
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
			s.v6conn.JoinGroup(at.net, &net.UDPAddr{IP: group6}) // an error if already joined
		default:
			s.v4conn.JoinGroup(at.net, &net.UDPAddr{IP: group4})
		}
		joined[at.index] = true
	}
	s.joined = joined
}

// send sends a packet to the group on an interface. It ignores errors, as packets may be
// lost anyway.
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

// maxPacket is the limit of RFC 6762 §17. maxRate bounds the packets per second that are
// parsed; a busy network has some dozens.
const (
	maxPacket = 9000
	maxRate   = 200
)

// read reads until the socket is closed or fails. It drops packets when the channel is
// full.
func (s *socket) read(to chan<- heard) {
	defer close(s.done)
	limit := rate.NewLimiter(maxRate, 2*maxRate)
	b := make([]byte, 1<<16) // on some systems a packet that does not fit is an error
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

// close also waits for the reading goroutine. On a nil socket it does nothing.
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

// open opens missing sockets, and replaces failed ones.
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
		s.log.Warn("cannot look for peers on the local network", "err", failure, "retry every", lookEvery.String())
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
