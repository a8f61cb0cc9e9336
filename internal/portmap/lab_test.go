package portmap

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// patience bounds every wait; the machine may be busy.
const patience = time.Minute

// A mapping is a Mapper that runs on a host of a lab.
type mapping struct {
	t      *testing.T
	told   chan told
	signal func(os.Signal) error
	end    func()
}

func mapOn(t *testing.T, h *natlab.Host, port uint16, only string) *mapping {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Command(ctx, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORTMAP_TEST_PORT=%d", port), "PORTMAP_TEST_PROTOCOL="+only)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &mapping{t: t, told: make(chan told, 1000), signal: cmd.Process.Signal}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var s told
			json.Unmarshal(lines.Bytes(), &s)
			m.told <- s
		}
		cmd.Wait()
	}()
	m.end = func() { // what it mapped, it unmaps
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("it does not end")
		}
	}
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return m
}

// wait waits for a state of the Mapper that suits.
func (m *mapping) wait(what string, suits func(told) bool) told {
	m.t.Helper()
	deadline := time.After(patience)
	var last told
	for {
		select {
		case last = <-m.told:
			if suits(last) {
				return last
			}
		case <-deadline:
			m.t.Fatalf("not within %v: %s; it says %+v", patience, what, last)
		}
	}
}

func mapped(s told) bool { return s.Outside != "" }

// reaches reports whether a packet from an address that the router has not seen reaches a
// socket.
func reaches(t *testing.T, host *natlab.Host, to string, socket net.PacketConn) bool {
	t.Helper()
	stranger, err := host.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	buf := make([]byte, 100)
	for range 5 {
		stranger.WriteTo([]byte("hello"), at)
		socket.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := socket.ReadFrom(buf); err == nil && string(buf[:n]) == "hello" {
			return true
		}
	}
	return false
}

// getsIn waits until unsolicited packets reach a socket.
func getsIn(t *testing.T, host *natlab.Host, to string, socket net.PacketConn) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reaches(t, host, to, socket); {
		if time.Now().After(deadline) {
			t.Fatalf("strangers do not get in by %s", to)
		}
	}
}

// Behind a symmetric NAT with a real miniupnpd, unsolicited packets pass the mapping of
// each protocol until it is deleted.
func TestRealRouter(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	stranger := lab.Public("stranger")
	h := lab.Home("host", natlab.Symmetric, natlab.Options{IGD: true})
	for i, only := range []string{"PCP", "NAT-PMP", "UPnP", ""} {
		t.Run("by "+only, func(t *testing.T) {
			port := uint16(4774 + i)
			socket, err := h.ListenPacket("udp4", fmt.Sprintf(":%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			m := mapOn(t, h, port, only)
			s := m.wait("a mapping", mapped)
			if !s.Public || only != "" && s.Protocol != only || !strings.HasPrefix(s.Outside, h.NAT().IP4().String()) || s.Lifetime != lifetime {
				t.Errorf("%+v, want one by %s", s, only)
			}
			getsIn(t, stranger, s.Outside, socket)
			if only == "" {
				all := s
				if !all.Asked { // the first word may have come after the last answer
					all = m.wait("three protocols", func(s told) bool { return s.Asked })
				}
				if len(all.Spoken) != 3 {
					t.Errorf("the router speaks %v, want all three", all.Spoken)
				}
			}
			m.end()
			if reaches(t, stranger, s.Outside, socket) {
				t.Error("strangers get in after its end")
			}
		})
	}
}

// A crash leaves a mapping behind, and the next process on the host gets the same one.
func TestRealRouterAfterCrash(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	h := lab.Home("host", natlab.Linux, natlab.Options{IGD: true})
	for _, only := range []string{"PCP", "NAT-PMP", "UPnP"} {
		m := mapOn(t, h, 4774, only)
		before := m.wait("a mapping", mapped)
		m.signal(os.Kill)
		if after := mapOn(t, h, 4774, only).wait("a mapping", mapped); after.Outside != before.Outside {
			t.Errorf("by %s: mapped %s, and after a crash %s", only, before.Outside, after.Outside)
		}
	}
}

// Another host of the LAN uses the external port.
func TestRealRouterPortTaken(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	nat := lab.NAT("nat", natlab.Linux, natlab.Options{IGD: true})
	first := mapOn(t, lab.Host("first", nat), 4774, "").wait("a mapping", mapped)
	h := lab.Host("second", nat)
	for _, only := range []string{"PCP", "NAT-PMP", "UPnP"} {
		m := mapOn(t, h, 4774, only)
		if s := m.wait("a mapping", mapped); s.Outside == first.Outside {
			t.Errorf("by %s both are mapped to %s", only, s.Outside)
		}
		m.end()
	}
}

// Routers that map nothing, and machines without a router.
func TestRealRouterWithout(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	s := mapOn(t, lab.Home("plain", natlab.PortRestricted), 4774, "").wait("an end", func(s told) bool { return s.Asked })
	if s.Outside != "" || len(s.Spoken) != 0 {
		t.Errorf("behind a plain NAT: %+v", s)
	}
	s = mapOn(t, lab.Public("public"), 4774, "").wait("a word", func(s told) bool { return !strings.Contains(s.Why, "not been asked") })
	if s.Asked || !strings.Contains(s.Why, "is public") {
		t.Errorf("on a public host: %+v", s)
	}
}

// Behind a carrier-grade NAT the external address is not public.
func TestRealRouterBehindCarrier(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	s := mapOn(t, lab.Home("host", natlab.Carrier, natlab.Options{IGD: true}), 4774, "NAT-PMP").wait("an answer", func(s told) bool { return mapped(s) || s.Asked })
	if s.Public {
		t.Errorf("it says %+v, want an address that is not public, or a refusal", s)
	}
}

// The host moves to another home network.
func TestRealRouterMove(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	h := lab.Home("host", natlab.Linux, natlab.Options{IGD: true})
	other := lab.NAT("other", natlab.PortRestricted, natlab.Options{IGD: true})
	m := mapOn(t, h, 4774, "")
	m.wait("a mapping", mapped)
	h.Move(other)
	m.wait("a mapping by the other", func(s told) bool { return strings.HasPrefix(s.Outside, other.IP4().String()) })
}

// The router restarts without its mappings, and the Mapper restores its own.
func TestRealRouterRestart(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	stranger := lab.Public("stranger")
	h := lab.Home("host", natlab.Symmetric, natlab.Options{IGD: true})
	socket, err := h.ListenPacket("udp4", ":4774")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	s := mapOn(t, h, 4774, "UPnP").wait("a mapping", mapped)
	h.NAT().Reset()
	getsIn(t, stranger, s.Outside, socket)
}

// A reload of the router's firewall removes the rules of mapped ports, while the epoch
// continues. The Mapper restores the mapping, by each protocol.
func TestRealRouterRulesFlushed(t *testing.T) {
	t.Parallel()
	lab := natlab.New(t)
	stranger := lab.Public("stranger")
	h := lab.Home("host", natlab.Symmetric, natlab.Options{IGD: true})
	socket, err := h.ListenPacket("udp4", ":4774")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, only := range []string{"PCP", "NAT-PMP", "UPnP"} {
		m := mapOn(t, h, 4774, only)
		s := m.wait("a mapping", mapped)
		h.NAT().ForgetPorts()
		getsIn(t, stranger, s.Outside, socket)
		m.end()
	}
}
