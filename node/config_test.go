package node

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/wire"
)

// The zero Config is what its comments say.
func TestDefaults(t *testing.T) {
	n, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c := n.config
	if c.Network != "main" || c.Agent != "kadquic" || c.K != 20 || c.Alpha != 3 || c.RPCTimeout != 5*time.Second ||
		c.RefreshInterval != time.Hour || c.MaxConnections != 512 || c.RecordTTL != 24*time.Hour ||
		c.StoreBytes != 64<<20 || c.StoreRecords != 100_000 || c.Mode != ModeAuto || c.Key == nil {
		t.Errorf("defaults: %+v", c)
	}
	if n.ID().IsZero() || n.Key() != n.ID().Key() {
		t.Errorf("identity %v, %v", n.ID(), n.Key())
	}
	other, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.ID() == n.ID() {
		t.Error("two nodes without a key have the same")
	}
	if k2, err := New(Config{K: 2}); err != nil || k2.config.Alpha != 2 {
		t.Errorf("K of 2: %v", err)
	} else {
		k2.Close()
	}
}

// What cannot work is said at once, with the value that is wrong.
func TestBadConfigs(t *testing.T) {
	const id = "12D3KooWMm1c4pzeLPGkkCJMAgFbsfQ8xmVDusg272icWsaNHWzN"
	addr := func(s string) []ma.Multiaddr { return []ma.Multiaddr{ma.StringCast(s)} }
	for what, c := range map[string]struct {
		config Config
		say    string
	}{
		"a short key":             {Config{Key: make([]byte, 32)}, "32 bytes"},
		"a mode of the future":    {Config{Mode: 9}, "mode 9"},
		"K of 21":                 {Config{K: 21}, "K is 21"},
		"a negative K":            {Config{K: -1}, "K is -1"},
		"alpha over K":            {Config{K: 3, Alpha: 4}, "Alpha is 4"},
		"a negative timeout":      {Config{RPCTimeout: -1}, "RPCTimeout"},
		"records of two days":     {Config{RecordTTL: 48 * time.Hour}, "48h"},
		"a long agent":            {Config{Agent: strings.Repeat("x", 65)}, "65 bytes"},
		"two ways to listen":      {Config{Listen: addr("/ip4/127.0.0.1/udp/0/quic-v1"), PacketConns: make([]net.PacketConn, 1)}, "not both"},
		"to listen on TCP":        {Config{Listen: addr("/ip4/127.0.0.1/tcp/80")}, "/ip4/127.0.0.1/tcp/80"},
		"to listen at a name":     {Config{Listen: addr("/dns4/example.com/udp/1/quic-v1")}, "example.com"},
		"nothing to listen on":    {Config{Listen: make([]ma.Multiaddr, 1)}, "listen"},
		"bootstrap without /p2p/": {Config{Bootstrap: addr("/ip4/127.0.0.1/udp/1/quic-v1")}, "must end in /p2p/"},
		"bootstrap by TCP":        {Config{Bootstrap: addr("/ip4/127.0.0.1/tcp/1/p2p/" + id)}, "/tcp/1"},
		"bootstrap without where": {Config{Bootstrap: addr("/p2p/" + id)}, id},
		"bootstrap at port 0":     {Config{Bootstrap: addr("/ip4/127.0.0.1/udp/0/quic-v1/p2p/" + id)}, "/udp/0"},
		"bootstrap nowhere":       {Config{Bootstrap: addr("/ip4/0.0.0.0/udp/1/quic-v1/p2p/" + id)}, "0.0.0.0"},
		"no bootstrap address":    {Config{Bootstrap: make([]ma.Multiaddr, 1)}, "bootstrap"},
	} {
		n, err := New(c.config)
		if err == nil {
			t.Errorf("%s: accepted", what)
			n.Close()
			continue
		}
		if !strings.Contains(err.Error(), c.say) || !strings.HasPrefix(err.Error(), "node: ") {
			t.Errorf("%s: the error reads %q, want it to say %q", what, err, c.say)
		}
	}
}

// Connect and Bootstrap refuse what New would.
func TestConnectChecksItsAddress(t *testing.T) {
	n, err := New(Config{Listen: loopback})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	bad := ma.StringCast("/ip4/127.0.0.1/udp/1/quic-v1")
	if _, err := n.Connect(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "/p2p/") {
		t.Errorf("connect: %v", err)
	}
	if err := n.Bootstrap(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "/p2p/") {
		t.Errorf("bootstrap: %v", err)
	}
	if n.joiner.HasTargets() {
		t.Error("a bad address is in the bootstrap list")
	}
	if _, err := n.Connect(t.Context(), ma.StringCast("/p2p/"+n.ID().String())); !errors.Is(err, wire.ErrAddr) {
		t.Errorf("connect to an ID: %v", err)
	}
}
