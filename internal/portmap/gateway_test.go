package portmap

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// gateway runs a router on the loopback interface: it passes each packet to answer, and
// sends back the packets that answer returns.
func gateway(t *testing.T, answer func(request []byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			for _, a := range answer(buf[:n]) {
				c.WriteToUDPAddrPort(a, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// expect answers requests from a table in hex.
func expect(t *testing.T, answers map[string]string) func([]byte) [][]byte {
	return func(request []byte) [][]byte {
		for want, answer := range answers {
			if bytes.Equal(request, unhex(want)) {
				return [][]byte{unhex(answer)}
			}
		}
		t.Errorf("it asks %x", request)
		return nil
	}
}

var wanted = wish{
	inside:   netip.MustParseAddrPort("127.0.0.1:4774"),
	outside:  netip.MustParseAddrPort("0.0.0.0:4774"),
	lifetime: 2 * time.Hour,
	nonce:    [12]byte([]byte("nonce nonce ")),
}

const (
	pmpAsked   = "00 01 0000 12a6 12a6 00001c20"
	pmpGave    = "00 81 0000 00000064 12a6 12a7 00000e10"
	pmpWhere   = "00 80 0000 00000064 1a010001"
	pcpAsked   = "02 01 0000 00001c20 00000000000000000000ffff7f000001 6e6f6e6365206e6f6e636520 11000000 12a6 12a6 00000000000000000000ffff00000000"
	pcpGave    = "02 81 00 00 00000e10 00000064 000000000000000000000000 6e6f6e6365206e6f6e636520 11000000 12a6 12a7 00000000000000000000ffff1a010001"
	pcpRefused = "02 81 00 08 00000e10 00000064 000000000000000000000000 6e6f6e6365206e6f6e636520 11000000 12a6 12a7 00000000000000000000ffff1a010001"
	pcpHello   = "02 00 0000 00000000 00000000000000000000ffff7f000001"
)

// RFC 6886 §3.2, §3.3, §3.4.
func TestNATPMP(t *testing.T) {
	p := pmp{local: loopback, gateway: gateway(t, expect(t, map[string]string{
		"00 00":                         pmpWhere,
		pmpAsked:                        pmpGave,
		"00 01 0000 12a6 0000 00000000": "00 81 0000 00000064 12a6 0000 00000000",
	}))}
	if err := p.probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := p.mapPort(t.Context(), wanted)
	if err != nil || m.String() != "26.1.0.1:4775 to 127.0.0.1:4774 by NAT-PMP" || m.Lifetime != time.Hour {
		t.Fatalf("%v for %v, %v", m, m.Lifetime, err)
	}
	if err := p.check(t.Context(), m); !errors.Is(err, errUntold) {
		t.Errorf("while its clock goes on: %v", err)
	}
	p.epoch.seconds = 5000 // and it says 100
	if err := p.check(t.Context(), m); !errors.Is(err, errLost) {
		t.Errorf("after a restart: %v", err)
	}
	m.Outside = netip.MustParseAddrPort("26.2.0.1:4775")
	if err := p.check(t.Context(), m); !errors.Is(err, errLost) {
		t.Errorf("with another external address: %v", err)
	}
	if err := p.unmap(t.Context(), wanted); err != nil {
		t.Error(err)
	}
}

// RFC 6887 §7, §11, §14.1, §15.1.
func TestPCP(t *testing.T) {
	p := pcp{local: loopback, gateway: gateway(t, expect(t, map[string]string{
		pcpHello: "02 80 00 00 00000000 00000064 000000000000000000000000",
		pcpAsked: pcpGave,
		strings.Replace(pcpAsked, "00001c20", "00000000", 1): strings.Replace(pcpGave, "00000e10", "00000000", 1),
	}))}
	if err := p.probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := p.mapPort(t.Context(), wanted)
	if err != nil || m.String() != "26.1.0.1:4775 to 127.0.0.1:4774 by PCP" || m.Lifetime != time.Hour {
		t.Fatalf("%v for %v, %v", m, m.Lifetime, err)
	}
	if err := p.check(t.Context(), m); !errors.Is(err, errUntold) {
		t.Errorf("while its clock goes on: %v", err)
	}
	p.epoch.seconds = 5000
	if err := p.check(t.Context(), m); !errors.Is(err, errLost) {
		t.Errorf("after a restart: %v", err)
	}
	if err := p.unmap(t.Context(), wanted); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		pcp    bool
		answer string
		code   int
	}{
		"PCP: no resources":           {true, pcpRefused, 8},
		"PCP: speaks NAT-PMP":         {true, "00 81 0001 00000064", 1},
		"PCP: a code of tomorrow":     {true, strings.Replace(pcpRefused, "81 00 08", "81 00 fe", 1), 254},
		"NAT-PMP: not authorized":     {false, "00 81 0002 00000064", 2},
		"NAT-PMP: speaks PCP":         {false, "02 81 00 01 00000000 00000064 000000000000000000000000", 1},
		"NAT-PMP: a code of tomorrow": {false, "00 81 ffff 00000064", 65535},
	} {
		t.Run(name, func(t *testing.T) {
			at := gateway(t, func([]byte) [][]byte { return [][]byte{unhex(c.answer)} })
			var a asker = &pmp{local: loopback, gateway: at}
			if c.pcp {
				a = &pcp{local: loopback, gateway: at}
			}
			_, err := a.mapPort(t.Context(), wanted)
			var no *ResultError
			if !errors.As(err, &no) || no.Code != c.code {
				t.Errorf("%v, want code %d", err, c.code)
			}
		})
	}
}

// ask skips packets that do not answer the request.
func TestForeignPacketsAreSkipped(t *testing.T) {
	swap := func(answer, from, to string) []byte {
		if !strings.Contains(answer, from) {
			t.Fatalf("no %s in %s", from, answer)
		}
		return unhex(strings.Replace(answer, from, to, 1))
	}
	whole := unhex(pcpGave)
	for _, junk := range [][]byte{
		{}, {2}, whole[:20], whole[:24], whole[:59], append(bytes.Clone(whole), 1),
		swap(pcpGave, "12a6 12a7", "12a8 12a7"),  // of another port
		swap(pcpGave, "6e6f6e63", "6f6f6e63"),    // of another's nonce
		swap(pcpRefused, "6e6f6e63", "6f6f6e63"), // even a refusal
		swap(pcpGave, "11000000", "06000000"),    // of TCP
		swap(pcpGave, "02 81", "02 80"),          // to an announcement
		swap(pcpGave, "02 81", "02 01"),          // a request
		swap(pcpGave, "02 81", "03 81"),
	} {
		p := pcp{local: loopback, gateway: gateway(t, func([]byte) [][]byte { return [][]byte{junk, whole} })}
		if m, err := p.mapPort(t.Context(), wanted); err != nil || m.IsZero() {
			t.Errorf("PCP after %x: %v, %v", junk, m, err)
		}
	}
	pmpWhole := unhex(pmpGave)
	for _, junk := range [][]byte{{}, {0}, pmpWhole[:7], pmpWhole[:15], unhex(pmpWhere), swap(pmpGave, "12a6", "12a8"), swap(pmpGave, "00 81", "00 01")} {
		p := pmp{local: loopback, gateway: gateway(t, func(request []byte) [][]byte {
			if len(request) == 2 {
				return [][]byte{pmpWhole, unhex(pmpWhere)}
			}
			return [][]byte{junk, pmpWhole}
		})}
		if m, err := p.mapPort(t.Context(), wanted); err != nil || m.IsZero() {
			t.Errorf("NAT-PMP after %x: %v, %v", junk, m, err)
		}
	}
}

func TestLifetimes(t *testing.T) {
	for seconds, want := range map[string]time.Duration{"00000e10": time.Hour, "ffffffff": maxLifetime, "00000001": time.Second} {
		p := pcp{local: loopback, gateway: gateway(t, func([]byte) [][]byte {
			return [][]byte{unhex(strings.Replace(pcpGave, "00000e10", seconds, 1))}
		})}
		if m, err := p.mapPort(t.Context(), wanted); err != nil || m.Lifetime != want {
			t.Errorf("%s: %v, %v", seconds, m.Lifetime, err)
		}
	}
	for _, nothing := range []string{
		strings.Replace(pcpGave, "00000e10", "00000000", 1),
		strings.Replace(pcpGave, "12a7", "0000", 1),
	} {
		p := pcp{local: loopback, gateway: gateway(t, func([]byte) [][]byte { return [][]byte{unhex(nothing)} })}
		if m, err := p.mapPort(t.Context(), wanted); err == nil {
			t.Errorf("%s: %v", nothing, m)
		}
	}
}

// A gateway is slow or a packet is lost, and the second request gets an answer.
func TestRetransmission(t *testing.T) {
	n := 0
	p := pcp{local: loopback, gateway: gateway(t, func([]byte) [][]byte {
		if n++; n == 1 {
			return nil
		}
		return [][]byte{unhex(pcpGave)}
	})}
	if _, err := p.mapPort(t.Context(), wanted); err != nil {
		t.Error(err)
	}
}

func TestSilentGateway(t *testing.T) {
	at := gateway(t, func([]byte) [][]byte { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error)
	go func() {
		_, err := (&pcp{local: loopback, gateway: at}).mapPort(ctx, wanted)
		asked <- err
	}()
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context has ended", err)
	}
	if _, err := search(ctx, loopback, at, at); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context has ended", err)
	}
}

func TestConnectionRefused(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	if err := (&pmp{local: loopback, gateway: at}).probe(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want at once that nobody listens", err)
	}
}

func FuzzPCP(f *testing.F) {
	for _, s := range []string{pcpGave, pcpRefused, pmpGave, pmpWhere, "", "02 80 00 00 00000000 00000064 000000000000000000000000"} {
		f.Add(unhex(s), byte(pcpMap))
	}
	f.Fuzz(func(t *testing.T, b []byte, op byte) {
		if a, err := parsePCP(b, op&0x7f); err == nil && a.lifetime > maxLifetime {
			t.Errorf("%v", a.lifetime)
		}
	})
}

func FuzzNATPMP(f *testing.F) {
	for _, s := range []string{pcpGave, pmpGave, pmpWhere, ""} {
		f.Add(unhex(s), byte(pmpMapUDP))
	}
	f.Fuzz(func(t *testing.T, b []byte, op byte) {
		if a, err := parsePMP(b, op&0x7f); err == nil && a.lifetime > maxLifetime {
			t.Errorf("%v", a.lifetime)
		}
	})
}
