package natlab

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a packet may take that should arrive; the machine may be busy.
const patience = 30 * time.Second

// grace is how long one may take that should not, after another sent later has arrived.
const grace = 50 * time.Millisecond

// A socket of a host, for probes.
type socket struct {
	*net.UDPConn
	host *Host
}

func listen(t *testing.T, h *Host, network string) *socket {
	t.Helper()
	c, err := h.ListenPacket(network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &socket{c.(*net.UDPConn), h}
}

func (s *socket) port() uint16 { return s.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// addr is the address of a socket of a host without a NAT.
func (s *socket) addr() netip.AddrPort {
	ip := s.host.IP4()
	if s.LocalAddr().Network() == "udp" && s.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
		ip = s.host.IP6()
	}
	return netip.AddrPortFrom(ip, s.port())
}

var tokens atomic.Int64

// send sends a packet that is like no other, and returns it.
func (s *socket) send(to netip.AddrPort) []byte {
	token := fmt.Appendf(nil, "probe %d", tokens.Add(1))
	s.WriteToUDPAddrPort(token, to) // what fails does not arrive
	return token
}

type packet struct {
	data []byte
	from netip.AddrPort
}

func (s *socket) receive(until time.Time) (packet, bool) {
	b := make([]byte, 2048)
	s.SetReadDeadline(until)
	for {
		n, from, err := s.ReadFromUDPAddrPort(b)
		if err == nil {
			return packet{b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, true
		}
		if time.Now().After(until) {
			return packet{}, false
		}
		// An ICMP message about what was sent, which the probes do not care for.
	}
}

// await reads until a token arrives. It returns the packets in order, and whether the
// token is the last of it.
func (s *socket) await(token []byte) (got []packet, ok bool) {
	until := time.Now().Add(patience)
	for {
		p, ok := s.receive(until)
		if !ok {
			return got, false
		}
		got = append(got, p)
		if bytes.Equal(p.data, token) {
			return got, true
		}
	}
}

// A server is two public hosts with two sockets each, as a STUN server has, RFC 5780.
type server struct {
	sockets [4]*socket // the first host's two, the other's two
}

func newServer(t *testing.T, one, other *Host, network string) *server {
	t.Helper()
	s := new(server)
	for i, h := range []*Host{one, one, other, other} {
		s.sockets[i] = listen(t, h, network)
	}
	return s
}

// observe is the address that a packet from s has when it comes to one of the server's
// sockets.
func (v *server) observe(t *testing.T, s *socket, which int) netip.AddrPort {
	t.Helper()
	to := v.sockets[which]
	got, ok := to.await(s.send(to.addr()))
	if !ok {
		t.Fatalf("nothing that %s sends comes to the server", s.host.Name())
	}
	return got[len(got)-1].from
}

// arrivals returns the packets that have reached s until now. mapped is the address of s that
// the server has observed at its first socket: arrivals sends a packet there that surely
// arrives, and returns the packets before it.
func (v *server) arrivals(t *testing.T, s *socket, mapped netip.AddrPort) []packet {
	t.Helper()
	got, ok := s.await(v.sockets[0].send(mapped))
	if !ok {
		t.Errorf("%s no longer has the mapping %v", s.host.Name(), mapped)
		return got
	}
	got = got[:len(got)-1]
	for until := time.Now().Add(grace); ; {
		p, ok := s.receive(until)
		if !ok {
			return got
		}
		got = append(got, p)
	}
}

// from returns the source of a token, if it is among the packets.
func from(got []packet, token []byte) (netip.AddrPort, bool) {
	i := slices.IndexFunc(got, func(p packet) bool { return bytes.Equal(p.data, token) })
	if i < 0 {
		return netip.AddrPort{}, false
	}
	return got[i].from, true
}

// mapping measures how the NAT in front of a socket maps it, and to which ports.
func (v *server) mapping(t *testing.T, s *socket) (kind, port string) {
	t.Helper()
	var seen []netip.AddrPort
	for which := range v.sockets {
		seen = append(seen, v.observe(t, s, which))
	}
	switch first := seen[0]; {
	case first.Addr() == s.host.IP4() || first.Addr() == s.host.IP6():
		kind = "none"
	case len(slices.Compact(slices.Clone(seen))) == 1:
		kind = "EIM"
	default:
		kind, port = "APDM", "next"
		for i := range seen[1:] {
			if seen[i+1].Port() != seen[i].Port()+1 {
				port = "random"
			}
		}
		return kind, port
	}
	if seen[0].Port() == s.port() {
		return kind, "same"
	}
	return kind, "other"
}

// filtering measures whose packets get to a socket.
func (v *server) filtering(t *testing.T, s *socket) string {
	t.Helper()
	mapped := v.observe(t, s, 0)
	port, host := v.sockets[1].send(mapped), v.sockets[2].send(mapped)
	got := v.arrivals(t, s, mapped)
	_, fromPort := from(got, port)
	_, fromHost := from(got, host)
	switch {
	case fromHost && fromPort:
		return "EIF"
	case fromPort:
		return "ADF"
	case fromHost:
		return "?"
	}
	return "APDF"
}

// punch is plain hole punching: each side learns how the server sees the other, both
// send there, a first, and answer every packet that arrives.
func (v *server) punch(t *testing.T, a, b *socket) bool {
	t.Helper()
	seenA, seenB := v.observe(t, a, 0), v.observe(t, b, 0)
	type side struct {
		s            *socket
		mapped, peer netip.AddrPort
		heard        bool
	}
	sides := []*side{{s: a, mapped: seenA, peer: seenB}, {s: b, mapped: seenB, peer: seenA}}
	for range 4 {
		for i, me := range sides {
			other := sides[1-i]
			me.s.send(me.peer)
			for _, p := range v.arrivals(t, other.s, other.mapped) {
				other.heard, other.peer = true, p.from
			}
		}
		if a, b := sides[0], sides[1]; a.heard && b.heard {
			return true
		}
	}
	return false
}
