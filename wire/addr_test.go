package wire

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func mustMultiaddr(t *testing.T, s string) ma.Multiaddr {
	m, err := ma.NewMultiaddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each form, in text, in bytes, and back.
func TestAddrForms(t *testing.T) {
	for text, want := range map[string]string{
		"/ip4/192.0.2.7/udp/4774/quic-v1":          "04c0000207" + "910212a6" + "cd03",
		"/ip6/2001:db8::7/udp/4774/quic-v1":        "2920010db8000000000000000000000007" + "910212a6" + "cd03",
		"/ip6/::1/udp/1/quic-v1":                   "2900000000000000000000000000000001" + "91020001" + "cd03",
		"/dns/a.example/udp/4774/quic-v1":          "3509612e6578616d706c65" + "910212a6" + "cd03",
		"/dns4/node.example.com/udp/65535/quic-v1": "36106e6f64652e6578616d706c652e636f6d" + "9102ffff" + "cd03",
		"/dns6/a/udp/4774/quic-v1":                 "370161" + "910212a6" + "cd03",
		"/dnsaddr/boot.example.org":                "3810626f6f742e6578616d706c652e6f7267",
	} {
		a, err := AddrOf(mustMultiaddr(t, text))
		if err != nil {
			t.Error(err)
			continue
		}
		if got := hex.EncodeToString([]byte(a)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		if b, err := ParseAddr([]byte(a)); err != nil || b != a {
			t.Errorf("ParseAddr(%x) = %x, %v", a, b, err)
		}
		if a.String() != text || a.Multiaddr().String() != text || a.Clone() != a {
			t.Errorf("%s comes back as %s and %s", text, a, a.Multiaddr())
		}
		ap, ok := a.AddrPort()
		if isIP := text[:3] == "/ip"; ok != isIP {
			t.Errorf("%s: AddrPort is %v, %v", text, ap, ok)
		} else if ok && AddrFrom(ap) != a {
			t.Errorf("%s comes back as %s", text, AddrFrom(ap))
		}
	}
}

func TestAddrRefuses(t *testing.T) {
	for _, text := range []string{
		"/ip4/192.0.2.7",
		"/ip4/192.0.2.7/udp/4774",
		"/ip4/192.0.2.7/tcp/4774",
		"/ip4/192.0.2.7/udp/4774/quic",
		"/ip4/192.0.2.7/udp/4774/quic-v1/webtransport",
		"/ip4/192.0.2.7/udp/0/quic-v1",
		"/ip4/0.0.0.0/udp/4774/quic-v1",
		"/ip6/::/udp/4774/quic-v1",
		"/ip6zone/eth0/ip6/fe80::1/udp/4774/quic-v1",
		"/dnsaddr/boot.example.org/udp/4774/quic-v1",
		"/dns4/boot.example.org",
		"/dns4/b\u00f6\u00f6t.example/udp/4774/quic-v1",
		"/dns4/a b/udp/4774/quic-v1",
		"/udp/4774/quic-v1",
		"/unix/tmp",
		"/ip4/192.0.2.7/udp/4774/quic-v1/p2p/12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw",
	} {
		if a, err := AddrOf(mustMultiaddr(t, text)); !errors.Is(err, ErrAddr) || a != "" {
			t.Errorf("AddrOf(%s) = %s, %v, want ErrAddr", text, a, err)
		}
		if a, err := ParseAddr(mustMultiaddr(t, text).Bytes()); err != ErrAddr || a != "" {
			t.Errorf("ParseAddr(%s) = %s, %v, want ErrAddr", text, a, err)
		}
	}
	if a, err := AddrOf(nil); !errors.Is(err, ErrAddr) {
		t.Errorf("AddrOf(nil) = %s, %v", a, err)
	}
	longest := "/dns4/" + string(make120()) + "/udp/4774/quic-v1"
	if a, err := AddrOf(mustMultiaddr(t, longest)); err != nil || len(a) != MaxAddrLen {
		t.Errorf("%d bytes: %v", len(a), err)
	}
	if a, err := AddrOf(mustMultiaddr(t, "/dns4/a"+longest[6:])); !errors.Is(err, ErrAddr) {
		t.Errorf("%d bytes: %v", len(a), err)
	}
}

func make120() []byte {
	b := make([]byte, MaxAddrLen-2-udpLen)
	for i := range b {
		b[i] = 'a'
	}
	return b
}

// One place never has two addresses: IPv4 in IPv6 form becomes plain IPv4, and
// from a peer, which must not write it, it is refused.
func TestAddrIs4In6(t *testing.T) {
	plain := addr4(7, 4774)
	mapped := mustMultiaddr(t, "/ip6/::ffff:192.0.2.7/udp/4774/quic-v1")
	if a, err := AddrOf(mapped); err != nil || a != plain {
		t.Errorf("AddrOf = %s, %v", a, err)
	}
	if a := AddrFrom(netip.MustParseAddrPort("[::ffff:192.0.2.7]:4774")); a != plain {
		t.Errorf("AddrFrom = %s", a)
	}
	if a, err := ParseAddr(mapped.Bytes()); err != ErrAddr {
		t.Errorf("ParseAddr = %s, %v", a, err)
	}
}

func TestAddrFromNowhere(t *testing.T) {
	for _, s := range []string{"0.0.0.0:4774", "[::]:4774", "192.0.2.7:0", "[::ffff:0.0.0.0]:1"} {
		if a := AddrFrom(netip.MustParseAddrPort(s)); a != "" {
			t.Errorf("AddrFrom(%s) = %s, want none", s, a)
		}
	}
	if a := AddrFrom(netip.AddrPort{}); a != "" {
		t.Errorf("AddrFrom(zero) = %s, want none", a)
	}
	if a := AddrFrom(netip.MustParseAddrPort("[fe80::1%eth0]:4774")); a.String() != "/ip6/fe80::1/udp/4774/quic-v1" {
		t.Errorf("with a zone: %s", a)
	}
	if a := Addr(""); a.String() != "" || a.Multiaddr() != nil {
		t.Errorf("the zero Addr is %q, %v", a.String(), a.Multiaddr())
	}
}

func TestSplitAndJoinPeer(t *testing.T) {
	id := idOf(alice)
	full := "/ip4/192.0.2.7/udp/4774/quic-v1/p2p/" + id.String()
	for text, want := range map[string]struct {
		addr Addr
		id   PeerID
	}{
		full:                              {addr4(7, 4774), id},
		"/ip4/192.0.2.7/udp/4774/quic-v1": {addr4(7, 4774), PeerID{}},
		"/p2p/" + id.String():             {"", id},
	} {
		m := mustMultiaddr(t, text)
		a, got, err := SplitPeer(m)
		if err != nil || a != want.addr || got != want.id {
			t.Errorf("SplitPeer(%s) = %s, %s, %v", text, a, got, err)
		}
		if back := JoinPeer(a, got); !back.Equal(m) {
			t.Errorf("JoinPeer gives %s, want %s", back, text)
		}
	}
	for text, want := range map[string]error{
		"/ip4/192.0.2.7/udp/4774/quic-v1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N": ErrPeerID, // an RSA key's
		"/p2p/11": ErrPeerID, // an identity digest of no bytes, which go-multiaddr lets pass
		"/ip4/192.0.2.7/tcp/4774/p2p/" + id.String():  ErrAddr,
		full + "/p2p-circuit/p2p/" + id.String():      ErrAddr,
		"/p2p/" + id.String() + "/p2p/" + id.String(): ErrAddr,
	} {
		if a, got, err := SplitPeer(mustMultiaddr(t, text)); !errors.Is(err, want) || a != "" || !got.IsZero() {
			t.Errorf("SplitPeer(%s) = %s, %s, %v, want %v", text, a, got, err, want)
		}
	}
	if _, _, err := SplitPeer(nil); !errors.Is(err, ErrAddr) {
		t.Errorf("SplitPeer(nil): %v", err)
	}
	if m := JoinPeer("", PeerID{}); len(m) != 0 {
		t.Errorf("nothing joined is %v", m)
	}
}
