package portmap

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A device is an Internet Gateway Device on the loopback interface.
type device struct {
	v2       bool
	taken    map[string]bool // ports outside
	only     string          // code with which leases are refused
	outside  string
	mapped   map[string]string // outside to inside
	leases   []string
	describe func() string
	location string // that it gives, if not its own
}

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == "GET" {
		io.WriteString(w, d.describe())
		return
	}
	text, _ := io.ReadAll(r.Body)
	in, err := parseSOAP(string(text))
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPAction"), `"`), "#")
	fail := func(code string) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope><s:Body><s:Fault><faultcode>s:Client</faultcode><detail><UPnPError>`+
			`<errorCode>%s</errorCode><errorDescription>no</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code)
	}
	answer := func(name, value string) {
		fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope><s:Body><u:%sResponse><%s>%s</%[2]s></u:%[1]sResponse></s:Body></s:Envelope>`, action, name, value)
	}
	port := in["NewExternalPort"]
	switch {
	case err != nil:
		fail("402")
	case action == "GetExternalIPAddress":
		answer("NewExternalIPAddress", d.outside)
	case action == "AddPortMapping" && d.taken[port]:
		fail("718")
	case (action == "AddPortMapping" || action == "AddAnyPortMapping" && d.v2) && d.only != "" && in["NewLeaseDuration"] != "0":
		fail(d.only)
	case action == "AddAnyPortMapping" && d.v2 && d.taken[port]:
		port = "5000"
		fallthrough
	case action == "AddPortMapping", action == "AddAnyPortMapping" && d.v2:
		d.mapped[port] = in["NewInternalClient"] + ":" + in["NewInternalPort"]
		d.leases = append(d.leases, in["NewLeaseDuration"])
		answer("NewReservedPort", port)
	case action == "GetSpecificPortMappingEntry":
		if to, ok := d.mapped[port]; ok {
			client, _, _ := strings.Cut(to, ":")
			answer("NewInternalClient", client)
		} else {
			fail("714")
		}
	case action == "DeletePortMapping":
		delete(d.mapped, port)
		answer("x", "")
	default:
		fail("401")
	}
}

const descriptionOf = `<?xml version="1.0" encoding="ISO-8859-1"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>R` + "\xe9" + `seau</friendlyName><deviceList><device><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/c</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:%s</serviceType><controlURL> %s </controlURL></service>
</serviceList></device></deviceList></device></deviceList></device></root>`

// plug starts the device, and returns a client of it.
func (d *device) plug(t *testing.T) *upnp {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.mapped = make(map[string]string)
	if d.outside == "" {
		d.outside = "26.1.0.1"
	}
	if d.describe == nil {
		version := "1"
		if d.v2 {
			version = "2"
		}
		d.describe = func() string { return fmt.Sprintf(descriptionOf, version, "/control") }
	}
	if d.location == "" {
		d.location = server.URL + "/root.xml"
	}
	at := gateway(t, func(b []byte) [][]byte {
		if !strings.HasPrefix(string(b), "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n") {
			t.Errorf("it searches by %q", b)
		}
		return [][]byte{[]byte("NOTIFY * HTTP/1.1\r\n\r\n"), {}, []byte("HTTP/1.1 200 OK\r\nLOCATION: " + d.location + "\r\nST: x\r\n\r\n")}
	})
	return &upnp{local: loopback, gateway: at, group: at, name: "test"}
}

func TestUPnP(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		d := &device{v2: v2}
		u := d.plug(t)
		if err := u.probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		m, err := u.mapPort(t.Context(), wanted)
		if err != nil || m.String() != "26.1.0.1:4774 to 127.0.0.1:4774 by UPnP" || m.Lifetime != lifetime {
			t.Fatalf("%v for %v, %v", m, m.Lifetime, err)
		}
		if d.mapped["4774"] != "127.0.0.1:4774" || d.leases[0] != "7200" {
			t.Errorf("it has mapped %v for %v", d.mapped, d.leases)
		}
		if err := u.check(t.Context(), m); err != nil {
			t.Error(err)
		}
		d.outside = "26.2.0.1"
		if err := u.check(t.Context(), m); !errors.Is(err, errLost) {
			t.Errorf("with another external address: %v", err)
		}
		d.outside = "26.1.0.1"
		if err := u.unmap(t.Context(), wanted); err != nil || len(d.mapped) != 0 {
			t.Errorf("%v, %v is mapped still", err, d.mapped)
		}
		if err := u.check(t.Context(), m); !errors.Is(err, errLost) {
			t.Errorf("when it is gone: %v", err)
		}
	}
}

func TestPortTaken(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		d := &device{v2: v2, taken: map[string]bool{"4774": true}}
		u := d.plug(t)
		if err := u.probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		m, err := u.mapPort(t.Context(), wanted)
		if err != nil || m.Outside.Port() == 4774 || d.mapped[fmt.Sprint(m.Outside.Port())] != "127.0.0.1:4774" {
			t.Errorf("%v, %v, %v", m, err, d.mapped)
		}
	}
}

// Some routers support permanent mappings only (WANIPConnection:1 §2.4.16).
func TestPermanentLeases(t *testing.T) {
	d := &device{only: "725"}
	u := d.plug(t)
	if err := u.probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := u.mapPort(t.Context(), wanted)
	if err != nil || m.Lifetime != 0 || !m.Expires().IsZero() {
		t.Errorf("%v for %v, %v", m, m.Lifetime, err)
	}
	d.only = "606"
	d.mapped = make(map[string]string)
	var no *ResultError
	if _, err := u.mapPort(t.Context(), wanted); !errors.As(err, &no) || no.Code != 606 {
		t.Errorf("%v, want refusal 606", err)
	}
}

// No answer makes the client fetch a URL outside the gateway.
func TestNothingFetchedElsewhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("it was asked")
	}))
	defer elsewhere.Close()
	for _, location := range []string{
		strings.Replace(elsewhere.URL, "127.0.0.1", "127.0.0.2", 1), "http://localhost:1/", "https://127.0.0.1:1/", "file:///etc/passwd", "http://", "", "%",
	} {
		u, err := url.Parse(location)
		if err == nil && isAt(u, loopback) {
			t.Errorf("it would fetch %q", location)
		}
	}
	for _, control := range []string{"http://127.0.0.2:1/", "//127.0.0.2/", "https://127.0.0.1/"} {
		d := &device{describe: func() string { return fmt.Sprintf(descriptionOf, "1", control) }}
		if err := d.plug(t).probe(t.Context()); !errors.Is(err, errNoService) {
			t.Errorf("a service at %q: %v", control, err)
		}
	}
}

func TestStrangeDevices(t *testing.T) {
	for name, text := range map[string]string{
		"empty":    "",
		"no XML":   "<root><device>",
		"endless":  strings.Repeat("<a>", maxBody),
		"no WAN":   "<root><device/></root>",
		"large":    "<root>" + strings.Repeat(" ", 2*maxBody) + "</root>",
		"a string": "hello",
	} {
		d := &device{describe: func() string { return text }}
		if err := d.plug(t).probe(t.Context()); err == nil {
			t.Errorf("%s: it is a gateway", name)
		}
	}
	for _, outside := range []string{"", "0.0.0.0", "::1", "here", strings.Repeat("1", 5000)} {
		if err := (&device{outside: outside + " "}).plug(t).probe(t.Context()); err == nil {
			t.Errorf("%.20q is an address", outside)
		}
	}
}

func TestSlowDevice(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	at, _ := url.Parse(server.URL)
	began := time.Now()
	if _, _, err := exchange(t.Context(), loopback, "GET", at, nil, ""); err == nil || time.Since(began) > 10*maxHTTP {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func FuzzUPnP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://127.0.0.1:80/root.xml\r\n\r\n"))
	f.Add(fmt.Appendf(nil, descriptionOf, "2", "/control"))
	f.Add([]byte(`<s:Envelope><errorCode>718</errorCode><a>b<c>d</c></a></s:Envelope>`))
	base, _ := url.Parse("http://127.0.0.1/")
	f.Fuzz(func(t *testing.T, b []byte) {
		parseSSDP(b)
		parseSOAP(string(b))
		all, err := parseDescription(string(b), base, netip.MustParseAddr("127.0.0.1"))
		if len(all) > maxServices || err == nil && len(all) == 0 {
			t.Errorf("%d services, %v", len(all), err)
		}
		for _, s := range all {
			if !isAt(s.at, loopback) {
				t.Errorf("a service at %v", s.at)
			}
		}
	})
}
