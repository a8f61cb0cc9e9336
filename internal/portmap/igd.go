package portmap

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A service maps ports on an Internet Gateway Device: WANIPConnection of version 1 or 2,
// or WANPPPConnection.
type service struct {
	kind string // urn:schemas-upnp-org:service:…
	at   *url.URL
}

func (s service) v2() bool { return strings.HasSuffix(s.kind, ":WANIPConnection:2") }

// services in the order in which they are tried.
var services = []string{
	"urn:schemas-upnp-org:service:WANIPConnection:2",
	"urn:schemas-upnp-org:service:WANIPConnection:1",
	"urn:schemas-upnp-org:service:WANPPPConnection:1",
}

// maxServices bounds the services of one device that are tried.
const maxServices = 8

var errNoService = errors.New("its description names no service that maps ports")

// parseDescription finds the services that map ports in a device description, which was
// read at base. It returns only services whose URL is at the gateway's address.
func parseDescription(text string, base *url.URL, gateway netip.Addr) ([]service, error) {
	var found []service
	var root string
	d := newDecoder(text)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case start.Name.Local == "URLBase":
			if err := d.DecodeElement(&root, &start); err != nil {
				return nil, err
			}
		case start.Name.Local == "service":
			var s struct {
				ServiceType string `xml:"serviceType"`
				ControlURL  string `xml:"controlURL"`
			}
			if err := d.DecodeElement(&s, &start); err != nil {
				return nil, err
			}
			kind := strings.TrimSpace(s.ServiceType)
			at, err := url.Parse(strings.TrimSpace(s.ControlURL))
			if err == nil && slices.Contains(services, kind) && len(found) < maxServices {
				found = append(found, service{kind, at})
			}
		}
	}
	if u, err := url.Parse(strings.TrimSpace(root)); err == nil && root != "" && isAt(u, gateway) {
		base = u
	}
	for i := range found {
		found[i].at = base.ResolveReference(found[i].at)
	}
	found = slices.DeleteFunc(found, func(s service) bool { return !isAt(s.at, gateway) })
	if len(found) == 0 {
		return nil, errNoService
	}
	slices.SortStableFunc(found, func(a, b service) int {
		return slices.Index(services, a.kind) - slices.Index(services, b.kind)
	})
	return found, nil
}

// newDecoder reads XML as UTF-8 and ignores the declared encoding, which routers often
// get wrong.
func newDecoder(text string) *xml.Decoder {
	d := xml.NewDecoder(strings.NewReader(strings.ToValidUTF8(text, "?")))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d
}

// An argument of an action. Some routers insist on the order of the specification.
type argument struct{ name, value string }

func soapRequest(kind, action string, arguments []argument) (http.Header, string) {
	var b strings.Builder
	fmt.Fprintf(&b, `%s<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">`+
		`<s:Body><u:%s xmlns:u="%s">`, xml.Header, action, kind)
	for _, a := range arguments {
		fmt.Fprintf(&b, "<%s>", a.name)
		xml.EscapeText(&b, []byte(a.value))
		fmt.Fprintf(&b, "</%s>", a.name)
	}
	fmt.Fprintf(&b, "</u:%s></s:Body></s:Envelope>\r\n", action)
	return http.Header{
		"Content-Type": {`text/xml; charset="utf-8"`},
		"SOAPAction":   {fmt.Sprintf(`"%s#%s"`, kind, action)}, // some routers compare its case
	}, b.String()
}

// parseSOAP returns the text of each leaf element by its name. The results of an action
// are leaves, and so are the code and the text of a fault. The first element of a name
// counts.
func parseSOAP(text string) (map[string]string, error) {
	values := make(map[string]string)
	var name, value string
	d := newDecoder(text)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			name, value = token.Name.Local, ""
		case xml.CharData:
			value += string(token[:min(len(token), 256)])
		case xml.EndElement:
			if _, seen := values[name]; name == token.Name.Local && !seen && len(values) < 64 {
				values[name] = strings.TrimSpace(value)
			}
			name = ""
		}
		if len(value) > 1024 {
			return nil, fmt.Errorf("a value of more than 1024 bytes for %q", name[:min(len(name), 64)])
		}
	}
}
