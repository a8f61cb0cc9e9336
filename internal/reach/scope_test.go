package reach

import (
	"net/netip"
	"testing"
)

func TestScopes(t *testing.T) {
	for text, want := range map[string]Scope{
		"8.8.8.8":                 ScopeGlobal,
		"2001:4860:4860::8888":    ScopeGlobal,
		"127.0.0.1":               ScopeLoopback,
		"127.255.1.2":             ScopeLoopback,
		"::1":                     ScopeLoopback,
		"169.254.10.1":            ScopeLink,
		"fe80::1":                 ScopeLink,
		"10.1.2.3":                ScopePrivate,
		"172.16.0.1":              ScopePrivate,
		"172.32.0.1":              ScopeGlobal,
		"192.168.1.1":             ScopePrivate,
		"100.64.0.1":              ScopePrivate, // RFC 6598
		"100.128.0.1":             ScopeGlobal,
		"fd12:3456::1":            ScopePrivate, // RFC 4193
		"0.0.0.0":                 ScopeNone,
		"0.1.2.3":                 ScopeNone, // RFC 1122 §3.2.1.3
		"::":                      ScopeNone,
		"224.0.0.1":               ScopeNone,
		"ff02::1":                 ScopeNone,
		"255.255.255.255":         ScopeNone,
		"240.0.0.1":               ScopeNone,
		"64:ff9b::a00:1":          ScopeNone, // RFC 6052
		"64:ff9b:1::a00:1":        ScopeNone, // RFC 8215
		"::ffff:10.0.0.1":         ScopeNone, // to be unmapped before
		"::10.0.0.1":              ScopeNone, // RFC 4291 §2.5.5.1
		"2002:a00:1::1":           ScopeNone, // RFC 3056: 6to4 of 10.0.0.1
		"2001:0:a00:1::f5ff:fffe": ScopeNone, // RFC 4380: Teredo
	} {
		if got := ScopeOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: scope %d, want %d", text, got, want)
		}
	}
	if got := ScopeOf(netip.Addr{}); got != ScopeNone {
		t.Errorf("no address: scope %d", got)
	}
}

// A peer makes us dial only where we reached it itself, or farther out.
func TestScopesThatPeersMayName(t *testing.T) {
	loopback, private, global := "127.0.0.1", "192.168.1.7", "8.8.8.8"
	for _, c := range []struct {
		teller, addr string
		want         bool
	}{
		{global, "9.9.9.9", true},
		{global, "10.0.0.1", false},
		{global, "127.0.0.1", false},
		{global, "169.254.0.1", false},
		{global, "0.0.0.0", false},
		{global, "224.0.0.251", false},
		{private, "10.0.0.1", true},
		{private, "9.9.9.9", true},
		{private, "127.0.0.1", false},
		{loopback, "127.0.0.1", true},
		{loopback, "10.0.0.1", true},
		{loopback, "0.0.0.0", false},
	} {
		if got := MayTell(netip.MustParseAddr(c.teller), netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s tells %s: %v", c.teller, c.addr, got)
		}
	}
}
