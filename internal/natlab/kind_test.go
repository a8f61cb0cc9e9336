package natlab

import (
	"go/parser"
	"go/token"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// table is the lines of a table in the package's documentation whose first word is a
// kind: the table that follows a heading.
func table(t *testing.T, heading string) map[string][]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(f.Doc.Text(), "# "+heading+"\n")
	if !ok {
		t.Fatalf("the documentation has no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n# ")
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for _, k := range Kinds {
			if strings.HasPrefix(line, "\t") && words[0] == k.String() {
				rows[words[0]] = words[1:]
			}
		}
	}
	return rows
}

func network(k Kind) string {
	if k == IPv6Firewall {
		return "udp6"
	}
	return "udp4"
}

func TestKinds(t *testing.T) {
	t.Parallel()
	want := table(t, "Kinds of NAT")
	lab := New(t)
	one, other := lab.Public("one"), lab.Public("other")
	for _, k := range Kinds {
		host := lab.Home(k.String(), k)
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			v := newServer(t, one, other, network(k))
			var got []string
			if k == UDPBlocked && blocked(t, v, host) {
				got = []string{"blocked", "-", "-"}
			} else {
				mapping, port := v.mapping(t, listen(t, host, network(k)))
				got = []string{mapping, port, v.filtering(t, listen(t, host, network(k)))}
			}
			if len(want[k.String()]) < 3 || strings.Join(got, " ") != strings.Join(want[k.String()][:3], " ") {
				t.Errorf("%s is measured as %v, documented as %v", k, got, want[k.String()])
			}
		})
	}
}

// blocked reports whether a host's UDP stays behind while its TCP gets through.
func blocked(t *testing.T, v *server, h *Host) bool {
	t.Helper()
	to := v.sockets[0]
	listen(t, h, "udp4").send(to.addr())
	var l net.Listener
	if err := to.host.Do(func() (err error) { l, err = net.Listen("tcp4", ":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	c, err := h.Dial(t.Context(), "tcp4", netip.AddrPortFrom(to.host.IP4(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	_, came := to.receive(time.Now().Add(grace))
	return !came
}

func TestPunching(t *testing.T) {
	t.Parallel()
	want := table(t, "What plain hole punching achieves")
	lab := New(t)
	one, other := lab.Public("one"), lab.Public("other")
	kinds := Kinds[:Carrier+1]
	var first, second []*Host
	for _, k := range kinds {
		first = append(first, lab.Home(k.String()+"-1", k))
		second = append(second, lab.Home(k.String()+"-2", k))
	}
	for i, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			v := newServer(t, one, other, "udp4")
			var got []string
			for j := range kinds {
				mark := "."
				if v.punch(t, listen(t, first[i], "udp4"), listen(t, second[j], "udp4")) {
					mark = "+"
				}
				got = append(got, mark)
			}
			t.Log(got)
			if strings.Join(got, " ") != strings.Join(want[k.String()], " ") {
				t.Errorf("from %s is measured as %v, documented as %v", k, got, want[k.String()])
			}
		})
	}
}

func TestIPv6FirewallsPunch(t *testing.T) {
	t.Parallel()
	lab := New(t)
	v := newServer(t, lab.Public("one"), lab.Public("other"), "udp6")
	a, b := lab.Home("a", IPv6Firewall), lab.Home("b", IPv6Firewall)
	if !v.punch(t, listen(t, a, "udp6"), listen(t, b, "udp6")) {
		t.Error("they do not")
	}
}
