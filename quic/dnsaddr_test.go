package quic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const (
	aPeer  = "/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	aOther = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
)

// A zone is a resolver of TXT records. It counts queries.
type zone struct {
	hosts
	txt     map[string][]string
	queries int
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.queries++
	records, ok := z.txt[name]
	if !ok {
		return nil, errors.New("no such host")
	}
	return records, nil
}

func TestResolveDNSAddr(t *testing.T) {
	z := &zone{txt: map[string][]string{
		"_dnsaddr.one.example": {
			"v=spf1 -all", // not ours
			"dnsaddr=/ip4/192.0.2.1/tcp/4001" + aPeer,
			"dnsaddr=/ip4/192.0.2.1/udp/7/quic-v1" + aPeer,
			"dnsaddr=/ip4/192.0.2.2/udp/7/quic-v1" + aOther,
			"dnsaddr=/ip6/2001:db8::1/udp/7/quic-v1" + aPeer,
			"dnsaddr=nonsense",
		},
		"_dnsaddr.many.example":  {"dnsaddr=/dnsaddr/one.example" + aPeer, "dnsaddr=/dnsaddr/one.example" + aOther, "dnsaddr=/dns4/both.example/udp/8/quic-v1"},
		"_dnsaddr.empty.example": {"dnsaddr=/ip4/192.0.2.1/tcp/1"},
		"_dnsaddr.none.example":  {},
	}}
	for s, want := range map[string]string{
		"/dnsaddr/one.example" + aPeer:  "192.0.2.1:7 [2001:db8::1]:7",
		"/dnsaddr/one.example" + aOther: "192.0.2.2:7",
		"/dnsaddr/one.example":          "192.0.2.1:7 192.0.2.2:7 [2001:db8::1]:7",
		"/dnsaddr/many.example" + aPeer: "192.0.2.1:7 [2001:db8::1]:7 192.0.2.1:8 192.0.2.2:8",
	} {
		got, err := resolve(t.Context(), parse(t, s), z)
		if err != nil || join(got) != want {
			t.Errorf("%s is %v, %v; want %s", s, join(got), err, want)
		}
	}
	for s, want := range map[string]string{
		"/dnsaddr/empty.example" + aPeer:           "/tcp/1",
		"/dnsaddr/none.example" + aPeer:            "no usable address",
		"/dnsaddr/nowhere.example" + aPeer:         "no such host",
		"/dnsaddr/one.example/udp/7/quic-v1":       "dnsaddr",
		"/dnsaddr/one.example/dnsaddr/one.example": "not of the form",
	} {
		if got, err := resolve(t.Context(), parse(t, s), z); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %v, %v; want an error that contains %q", s, got, err, want)
		}
	}
}

func join(addrs []netip.AddrPort) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}

// The author of the records cannot make the resolver work without end.
func TestResolveDNSAddrIsBounded(t *testing.T) {
	z := &zone{txt: map[string][]string{
		"_dnsaddr.loop.example": {"dnsaddr=/dnsaddr/loop.example", "dnsaddr=/dnsaddr/loop.example"},
		"_dnsaddr.end.example":  {"dnsaddr=/ip4/192.0.2.1/udp/7/quic-v1"},
	}}
	var wide, long []string
	for i := range 100 {
		z.txt[fmt.Sprintf("_dnsaddr.%d.example", i)] = []string{fmt.Sprintf("dnsaddr=/dnsaddr/%d.example", i+1)}
		wide = append(wide, fmt.Sprintf("dnsaddr=/dnsaddr/nowhere%d.example", i))
		long = append(long, fmt.Sprintf("dnsaddr=/ip4/192.0.2.1/udp/%d/quic-v1", i+1))
	}
	z.txt["_dnsaddr.wide.example"], z.txt["_dnsaddr.long.example"] = wide, long
	for _, name := range []string{"loop", "0", "wide"} {
		z.queries = 0
		if got, err := resolve(t.Context(), parse(t, "/dnsaddr/"+name+".example"), z); err == nil {
			t.Errorf("%s is %v", name, got)
		}
		if z.queries > maxDNSAddrLookups {
			t.Errorf("%s: %d queries, want at most %d", name, z.queries, maxDNSAddrLookups)
		}
	}
	if got, err := resolve(t.Context(), parse(t, "/dnsaddr/long.example"), z); err != nil || len(got) != maxDNSAddrFound {
		t.Errorf("%d addresses, %v; want %d", len(got), err, maxDNSAddrFound)
	}
	for i := range maxDNSAddrDepth { // a chain of the longest length allowed works
		name := fmt.Sprintf("_dnsaddr.%d.example", i)
		z.txt[name] = []string{fmt.Sprintf("dnsaddr=/dnsaddr/%d.example", i+1)}
		if i == maxDNSAddrDepth-1 {
			z.txt[name] = z.txt["_dnsaddr.end.example"]
		}
	}
	if got, err := resolve(t.Context(), parse(t, "/dnsaddr/0.example"), z); err != nil || !slices.Equal(got, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7")}) {
		t.Errorf("a chain of %d: %v, %v", maxDNSAddrDepth, got, err)
	}
}
