package natlab

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestHairpin(t *testing.T) {
	t.Parallel()
	lab := New(t)
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
	for _, o := range []Options{{}, {Hairpin: true}} {
		for _, k := range []Kind{FullCone, PortRestricted, Symmetric} {
			nat := lab.NAT(fmt.Sprint(k, o.Hairpin), k, o)
			a := listen(t, lab.Host(nat.Name()+"-a", nat), "udp4")
			b := listen(t, lab.Host(nat.Name()+"-b", nat), "udp4")
			mappedA, mappedB := v.observe(t, a, 0), v.observe(t, b, 0)
			token := a.send(mappedB)
			source, through := from(v.arrivals(t, b, mappedB), token)
			if through != o.Hairpin {
				t.Errorf("%v with hairpin %v: through is %v", k, o.Hairpin, through)
			}
			if !through {
				continue
			}
			if source.Addr() != mappedA.Addr() {
				t.Errorf("%v: comes from %v, want the outside address", k, source)
			}
			token = b.send(source)
			if _, ok := from(v.arrivals(t, a, mappedA), token); !ok {
				t.Errorf("%v: the answer does not come", k)
			}
		}
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 4 s of the kernel's time")
	}
	type probe struct {
		early, late, control    *socket
		mappedEarly, mappedLate netip.AddrPort
	}
	lab := New(t)
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
	var probes []probe
	for _, k := range []Kind{FullCone, PortRestricted, Linux} {
		h := lab.Home(k.String(), k, Options{Timeout: 2 * time.Second})
		probes = append(probes, probe{early: listen(t, h, "udp4"), late: listen(t, h, "udp4"), control: listen(t, h, "udp4")})
	}
	before := time.Now()
	for i := range probes {
		p := &probes[i]
		p.mappedEarly, p.mappedLate = v.observe(t, p.early, 0), v.observe(t, p.late, 0)
	}
	after := time.Now()
	time.Sleep(time.Second)
	for _, p := range probes {
		sent, in := v.sockets[0].send(p.mappedEarly), time.Since(before)
		if _, ok := p.early.await(sent); !ok && in < 2*time.Second {
			t.Errorf("%s is gone after %v", p.early.host.NAT().kind, in)
		}
	}
	time.Sleep(time.Until(after.Add(4 * time.Second)))
	for _, p := range probes {
		v.sockets[0].send(p.mappedLate)
		v.arrivals(t, p.control, v.observe(t, p.control, 0))
		if _, ok := p.late.receive(time.Now().Add(grace)); ok {
			t.Errorf("%s is there after 4 s", p.late.host.NAT().kind)
		}
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	lab := New(t)
	one, other := lab.Public("one"), lab.Public("other")
	for _, k := range []Kind{FullCone, AddressRestricted, PortRestricted, Linux, Symmetric, IPv6Firewall} {
		v, h := newServer(t, one, other, network(k)), lab.Home(k.String(), k)
		s, control := listen(t, h, network(k)), listen(t, h, network(k))
		mapped := v.observe(t, s, 0)
		if _, ok := s.await(v.sockets[0].send(mapped)); !ok {
			t.Errorf("%v: the mapping does not work before the reset", k)
		}
		h.NAT().Reset()
		v.sockets[0].send(mapped)
		v.arrivals(t, control, v.observe(t, control, 0))
		if _, ok := s.receive(time.Now().Add(grace)); ok {
			t.Errorf("%v: the mapping works after the reset", k)
		}
		v.observe(t, s, 0) // and a new one is made
	}
}

// Two homes behind one carrier, as mobile networks have them by the thousand.
func TestBehindOneCarrier(t *testing.T) {
	t.Parallel()
	lab := New(t)
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
	carrier := lab.NAT("carrier", Symmetric, Options{LAN: "100.64.7.0/24", Ports: Ports{20000, 20511}})
	a := lab.Home("a", Linux, Options{Behind: carrier, LAN: "192.168.1.0/24"})
	b := lab.Home("b", Linux, Options{Behind: carrier, LAN: "192.168.1.0/24"})
	if a.IP4() != b.IP4() || a.NAT().IP4() == b.NAT().IP4() || !netip.MustParsePrefix("100.64.7.0/24").Contains(a.NAT().IP4()) {
		t.Errorf("the homes are %v and %v, inside %v and %v", a.NAT().IP4(), b.NAT().IP4(), a.IP4(), b.IP4())
	}
	s := listen(t, a, "udp4")
	if m := v.observe(t, s, 0); m.Addr() != carrier.IP4() || m.Port() < 20000 || m.Port() > 20511 {
		t.Errorf("the server sees %v", m)
	}
	if kind, port := v.mapping(t, s); kind != "APDM" || port != "random" {
		t.Errorf("the mapping is %s, the port %s", kind, port)
	}
	if v.punch(t, s, listen(t, b, "udp4")) {
		t.Error("they punch through, without a hairpin")
	}
}

func TestDualStack(t *testing.T) {
	t.Parallel()
	lab := New(t)
	one, other := lab.Public("one"), lab.Public("other")
	h := lab.Home("host", Symmetric, Options{IPv6: true})
	if kind, _ := newServer(t, one, other, "udp4").mapping(t, listen(t, h, "udp4")); kind != "APDM" {
		t.Errorf("the mapping of IPv4 is %s", kind)
	}
	v := newServer(t, one, other, "udp6")
	if kind, _ := v.mapping(t, listen(t, h, "udp6")); kind != "none" {
		t.Errorf("the mapping of IPv6 is %s", kind)
	}
	if f := v.filtering(t, listen(t, h, "udp6")); f != "APDF" {
		t.Errorf("the filtering of IPv6 is %s", f)
	}
}
