package netgroup

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestNetworks(t *testing.T) {
	for _, c := range []struct{ addr, of, wider string }{
		{"203.0.113.7", "203.0.113.0/24", "[203.0.0.0/16]"},
		{"::ffff:203.0.113.7", "203.0.113.0/24", "[203.0.0.0/16]"},
		{"2002:cb00:7107:1::9", "203.0.113.0/24", "[203.0.0.0/16]"},             // 6to4
		{"2001:0:102:304:0:1234:34ff:8ef8", "203.0.113.0/24", "[203.0.0.0/16]"}, // Teredo
		{"64:ff9b::203.0.113.7", "203.0.113.0/24", "[203.0.0.0/16]"},            // NAT64
		{"64:ff9b:1:abcd::203.0.113.7", "203.0.113.0/24", "[203.0.0.0/16]"},     // local NAT64
		{"2a00:1:2:3:4::5", "2a00:1:2:3::/64", "[2a00:1:2::/56 2a00:1:2::/48 2a00:1::/32]"},
		{"2a00:1:2:3ff:4::5", "2a00:1:2:3ff::/64", "[2a00:1:2:300::/56 2a00:1:2::/48 2a00:1::/32]"},
		{"10.1.2.3", "10.1.2.3/32", "[]"},
		{"192.168.1.9", "192.168.1.9/32", "[]"},
		{"100.64.9.9", "100.64.9.9/32", "[]"},
		{"fd00::1", "fd00::/64", "[]"},
		{"fe80::1%eth0", "fe80::/64", "[]"},
		{"2002:0a01:0203::9", "10.1.2.3/32", "[]"},
	} {
		of := Of(netip.MustParseAddr(c.addr))
		if of.String() != c.of || fmt.Sprint(Wider(of)) != c.wider {
			t.Errorf("%s is in %v and %v, want %s and %s", c.addr, of, Wider(of), c.of, c.wider)
		}
	}
	if of := Of(netip.Addr{}); of.IsValid() || Wider(of) != nil {
		t.Errorf("no address is in %v", of)
	}
}

// Each wider network contains the narrower ones, and the address.
func TestNetworksAreNested(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")))
		if rapid.Bool().Draw(t, "IPv4") {
			a = netip.AddrFrom4([4]byte(a.AsSlice()[:4]))
		}
		c := Canonical(a)
		if Canonical(c) != c {
			t.Fatalf("%v stands for %v, which stands for %v", a, c, Canonical(c))
		}
		p := Of(a)
		if !p.Contains(c) {
			t.Fatalf("%v is not in %v", c, p)
		}
		for _, w := range Wider(p) {
			if w.Bits() >= p.Bits() || !w.Contains(p.Addr()) {
				t.Fatalf("%v is not wider than %v", w, p)
			}
			p = w
		}
		if w := Within(a, 24, 48); !w.Contains(c) {
			t.Fatalf("%v is not in %v", c, w)
		}
	})
}
