package natlab

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Just enough of the three protocols to see that a NAT speaks them.

func TestIGD(t *testing.T) {
	t.Parallel()
	lab := New(t)
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp4")
	h := lab.Home("host", Symmetric, Options{IGD: true})
	for name, ask := range map[string]func(*testing.T, *socket) netip.AddrPort{"NAT-PMP": askNATPMP, "PCP": askPCP, "UPnP": askUPnP} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, h, "udp4")
			mapped := ask(t, s)
			if mapped.Addr() != h.NAT().IP4() {
				t.Errorf("it maps %v, want an address %v", mapped, h.NAT().IP4())
			}
			stranger := v.sockets[2]
			if _, ok := s.await(stranger.send(mapped)); !ok {
				t.Errorf("strangers do not reach %v", mapped)
			}
			h.NAT().Reset()
			stranger.send(mapped)
			control := listen(t, h, "udp4")
			v.arrivals(t, control, v.observe(t, control, 0))
			if _, ok := s.receive(time.Now().Add(grace)); ok {
				t.Errorf("strangers reach %v after a reset", mapped)
			}
			if again := ask(t, s); again != mapped {
				t.Errorf("it maps %v, and %v after a reset", mapped, again)
			}
		})
	}
}

// ask sends a request every 250 ms until there is an answer.
func ask(t *testing.T, h *Host, to string, request []byte, size int) []byte {
	t.Helper()
	s := listen(t, h, "udp4")
	for range 20 {
		s.WriteToUDPAddrPort(request, netip.MustParseAddrPort(to))
		if p, ok := s.receive(time.Now().Add(250 * time.Millisecond)); ok && len(p.data) >= size {
			return p.data
		}
	}
	t.Fatalf("%s does not answer", to)
	return nil
}

func gateway(h *Host) string { return nth(h.NAT().lan4, 1).String() + ":5351" }

// RFC 6886 §3.2 and §3.3.
func askNATPMP(t *testing.T, s *socket) netip.AddrPort {
	order := binary.BigEndian
	request := order.AppendUint16([]byte{0, 1, 0, 0}, s.port()) // version 0, map UDP, the inside port,
	request = order.AppendUint16(request, s.port())             // the one wished for outside,
	request = order.AppendUint32(request, 120)                  // seconds
	answer := ask(t, s.host, gateway(s.host), request, 16)
	where := ask(t, s.host, gateway(s.host), []byte{0, 0}, 12)
	if answer[1] != 129 || order.Uint16(answer[2:]) != 0 {
		t.Fatalf("it answers %x", answer)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(where[8:12])), order.Uint16(answer[10:]))
}

// RFC 6887 §7.1 and §11.1.
func askPCP(t *testing.T, s *socket) netip.AddrPort {
	order := binary.BigEndian
	client := s.host.IP4().As16()
	request := order.AppendUint32([]byte{2, 1, 0, 0}, 120) // version 2, MAP, seconds,
	request = append(request, client[:]...)
	request = append(request, rand.Text()[:12]...) // nonce,
	request = append(request, 17, 0, 0, 0)         // UDP,
	request = order.AppendUint16(request, s.port())
	request = order.AppendUint16(request, s.port())
	request = append(request, net.IPv4zero.To16()...)
	answer := ask(t, s.host, gateway(s.host), request, 60)
	if answer[1] != 0x81 || answer[3] != 0 {
		t.Fatalf("it answers %x", answer)
	}
	outside := netip.AddrFrom16([16]byte(answer[44:60])).Unmap()
	return netip.AddrPortFrom(outside, order.Uint16(answer[42:]))
}

// UPnP Device Architecture 1.1 §1.3.2; WANIPConnection:1 §2.4.16.
func askUPnP(t *testing.T, s *socket) netip.AddrPort {
	search := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n" +
		"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
	answer := ask(t, s.host, "239.255.255.250:1900", []byte(search), 1)
	location := regexp.MustCompile(`(?i)location: *(\S+)`).FindSubmatch(answer)
	if location == nil {
		t.Fatalf("it answers %q", answer)
	}
	base, err := url.Parse(string(location[1]))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: s.host.Dial}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	do := func(method, path, action, body string) string {
		request, err := http.NewRequestWithContext(t.Context(), method, base.JoinPath("..", path).String(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "text/xml")
		request.Header["SOAPAction"] = []string{action}
		r, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v: %s", method, action, r.Status, err, text)
		}
		return string(text)
	}
	description := do("GET", base.Path, "", "")
	service := regexp.MustCompile(`(?s)(urn:schemas-upnp-org:service:WANIPConnection:[12]).*?<controlURL>(.*?)</controlURL>`).FindStringSubmatch(description)
	if service == nil {
		t.Fatalf("no WANIPConnection in %s", description)
	}
	soap := func(action, arguments string) string {
		return do("POST", service[2], fmt.Sprintf("%q", service[1]+"#"+action), fmt.Sprintf(xml.Header+
			`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">`+
			`<s:Body><u:%s xmlns:u="%s">%s</u:%[1]s></s:Body></s:Envelope>`, action, service[1], arguments))
	}
	soap("AddPortMapping", fmt.Sprintf("<NewRemoteHost></NewRemoteHost><NewExternalPort>%d</NewExternalPort>"+
		"<NewProtocol>UDP</NewProtocol><NewInternalPort>%[1]d</NewInternalPort><NewInternalClient>%s</NewInternalClient>"+
		"<NewEnabled>1</NewEnabled><NewPortMappingDescription>natlab</NewPortMappingDescription><NewLeaseDuration>120</NewLeaseDuration>",
		s.port(), s.host.IP4()))
	outside := regexp.MustCompile(`<NewExternalIPAddress>(.*?)<`).FindStringSubmatch(soap("GetExternalIPAddress", ""))
	if outside == nil {
		t.Fatal("it does not say its outside address")
	}
	return netip.AddrPortFrom(netip.MustParseAddr(outside[1]), s.port())
}
