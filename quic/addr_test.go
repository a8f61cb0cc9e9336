package quic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func parse(tb testing.TB, s string) ma.Multiaddr {
	tb.Helper()
	m, err := ma.NewMultiaddr(s)
	check(tb, err)
	return m
}

func TestParseListen(t *testing.T) {
	for text, want := range map[string]string{
		"/ip4/192.0.2.1/udp/4774/quic-v1":        "192.0.2.1:4774",
		"/ip6/::ffff:192.0.2.1/udp/4774/quic-v1": "192.0.2.1:4774",
		"/ip6/2001:db8::1/udp/1/quic-v1":         "[2001:db8::1]:1",
		"/ip6/::/udp/0/quic-v1":                  "[::]:0",
	} {
		if a, err := ParseListen(parse(t, text)); err != nil || a.String() != want {
			t.Errorf("%s is %v, %v; want %s", text, a, err, want)
		}
	}
}

// written is the multiaddr of an address.
func written(tb testing.TB, a netip.AddrPort) ma.Multiaddr {
	family := "ip6"
	if a.Addr().Is4() {
		family = "ip4"
	}
	return parse(tb, fmt.Sprintf("/%s/%v/udp/%d/quic-v1", family, a.Addr(), a.Port()))
}

func TestParseListenRefuses(t *testing.T) {
	for _, s := range []string{
		"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1", "/ip4/192.0.2.1/udp/1/quic",
		"/dns4/example.org/udp/1/quic-v1", "/ip4/192.0.2.1", "/udp/1/quic-v1",
		"/ip4/192.0.2.1/udp/1/quic-v1/webtransport", "/ip6zone/eth0/ip6/fe80::1/udp/1/quic-v1",
	} {
		if a, err := ParseListen(parse(t, s)); err == nil {
			t.Errorf("%s is %v", s, a)
		}
	}
	if _, err := ParseListen(nil); err == nil {
		t.Error("nothing is an address")
	}
}

// hosts is a resolver that knows two names.
type hosts struct{}

func (hosts) LookupNetIP(_ context.Context, network, host string) (found []netip.Addr, err error) {
	for _, s := range map[string][]string{
		"both.example":  {"2001:db8::1", "192.0.2.1", "::ffff:192.0.2.2", "0.0.0.0"},
		"empty.example": {"::"},
	}[host] {
		found = append(found, netip.MustParseAddr(s))
	}
	if found == nil {
		return nil, errors.New("no such host")
	}
	return found, nil
}

func (hosts) LookupTXT(context.Context, string) ([]string, error) {
	return nil, errors.New("no such host")
}

func TestResolve(t *testing.T) {
	const id = "/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	for s, addrs := range map[string][]string{
		"/ip4/192.0.2.9/udp/7/quic-v1":          {"192.0.2.9:7"},
		"/ip4/192.0.2.9/udp/7/quic-v1" + id:     {"192.0.2.9:7"},
		"/ip6/::ffff:192.0.2.9/udp/7/quic-v1":   {"192.0.2.9:7"},
		"/dns/both.example/udp/7/quic-v1":       {"[2001:db8::1]:7", "192.0.2.1:7", "192.0.2.2:7"},
		"/dns4/both.example/udp/7/quic-v1" + id: {"192.0.2.1:7", "192.0.2.2:7"},
		"/dns6/both.example/udp/7/quic-v1":      {"[2001:db8::1]:7"},
	} {
		got, err := resolve(t.Context(), parse(t, s), hosts{})
		check(t, err)
		var want []netip.AddrPort
		for _, a := range addrs {
			want = append(want, netip.MustParseAddrPort(a))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is %v, want %v", s, got, want)
		}
	}
	for _, s := range []string{
		"/dns/nobody.example/udp/7/quic-v1", "/dns/empty.example/udp/7/quic-v1",
		"/ip4/0.0.0.0/udp/7/quic-v1", "/ip4/192.0.2.9/udp/0/quic-v1", "/dns/both.example/tcp/7",
	} {
		if got, err := resolve(t.Context(), parse(t, s), hosts{}); err == nil {
			t.Errorf("%s is %v", s, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Resolve(ctx, parse(t, "/dns/nobody.invalid/udp/1/quic-v1")); err == nil {
		t.Error("a name was found that cannot exist")
	}
}

func FuzzAddr(f *testing.F) {
	for _, s := range []string{"/ip4/192.0.2.1/udp/4774/quic-v1", "/ip6/::1/udp/0/quic-v1", "/dns4/a/udp/1/quic-v1", "/ip4/1.2.3.4/tcp/5"} {
		f.Add(parse(f, s).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			return
		}
		_, _ = resolve(t.Context(), m, hosts{})
		a, err := ParseListen(m)
		if err != nil {
			return
		}
		if a.Addr().Is4In6() {
			t.Errorf("%s is %v, a second name for one peer", m, a)
		}
		if again, err := ParseListen(written(t, a)); err != nil || again != a {
			t.Errorf("%s is %v, and that is %v: %v", m, a, again, err)
		}
	})
}

func FuzzMultiaddr(f *testing.F) {
	f.Add("/ip4/192.0.2.1/udp/4774/quic-v1")
	f.Add("/dns/example.org/udp/1/quic-v1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ma.NewMultiaddr(s)
		if err != nil {
			return
		}
		if a, err := ParseListen(m); err == nil && !a.IsValid() {
			t.Errorf("%s is no address", m)
		}
		_, _ = resolve(t.Context(), m, hosts{})
	})
}
