package natlab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
)

// A Node is a machine of the lab: what hosts and NATs have in common.
type Node struct {
	lab    *Lab
	name   string
	kind   string // for a reader
	number int
	ns     *namespace
	uplink *cable
	ip4    netip.Addr
	ip6    netip.Addr
}

// Name is the name that the node was given.
func (n *Node) Name() string { return n.name }

// IP4 is the node's IPv4 address, of a NAT the outside one; not valid if it has none.
func (n *Node) IP4() netip.Addr { return n.ip4 }

// IP6 is the node's IPv6 address, of a NAT the outside one; not valid if it has none.
func (n *Node) IP6() netip.Addr { return n.ip6 }

// Command is exec.CommandContext, on this node. Files, users and environment are
// those of the test; only the network differs. The process gets signals and gives its
// exit status as it would without a lab, and it dies when the test does.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	// Each of the two becomes the next; so the process is the program's.
	words := []string{"--net=" + n.ns.path, "--", "env", ownerVariable + "=" + owner(), name}
	cmd := exec.CommandContext(ctx, "nsenter", append(words, args...)...)
	cmd.SysProcAttr = dieWithUs()
	return cmd
}

// Do calls f in the node's network: sockets that f opens are the node's, wherever they
// are used. It holds for the goroutine of f alone, not for those that f starts.
func (n *Node) Do(f func() error) error { return n.ns.do(f) }

// ListenPacket is net.ListenPacket, on this node.
func (n *Node) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Dial is net.Dialer.DialContext, on this node. There are no names in a lab: the
// address is an IP address and a port.
func (n *Node) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, err
	}
	err = n.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Cut lets nothing more through the node's uplink, either way. Nobody is told: sends
// still succeed.
func (n *Node) Cut() {
	n.lab.t.Helper()
	n.lab.must(n.uplink.cut(), "cut %s off", n.name)
}

// Restore undoes Cut.
func (n *Node) Restore() {
	n.lab.t.Helper()
	n.lab.must(n.uplink.restore(), "restore the uplink of %s", n.name)
}

// Counters count a node's UDP packets that crossed its uplink, and their bytes with IP
// and UDP headers. What a program sends in one go by segmentation offload, and a link
// without Delay, Jitter, Loss or Rate leaves in one piece, counts as one packet.
type Counters struct {
	InPackets, InBytes   int
	OutPackets, OutBytes int
}

// Before the first rule that may drop a packet, and after the last.
const countRules = `
table inet count {
	counter in { }
	counter out { }
	chain pre { type filter hook prerouting priority -400; iifname != "lo" meta l4proto udp counter name in; }
	chain post { type filter hook postrouting priority 400; oifname != "lo" meta l4proto udp counter name out; }
}
`

// Counters returns what was counted since the node was made.
func (n *Node) Counters() (Counters, error) {
	out, err := n.ns.run("", "nft", "-j", "list", "counters", "table", "inet", "count")
	if err != nil {
		return Counters{}, err
	}
	var list struct {
		Nftables []struct {
			Counter struct {
				Name           string
				Packets, Bytes int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return Counters{}, fmt.Errorf("nft: %w", err)
	}
	var c Counters
	for _, e := range list.Nftables {
		switch e.Counter.Name {
		case "in":
			c.InPackets, c.InBytes = e.Counter.Packets, e.Counter.Bytes
		case "out":
			c.OutPackets, c.OutBytes = e.Counter.Packets, e.Counter.Bytes
		}
	}
	return c, nil
}

// toInternet joins the node to the internet by a link between two addresses, of which
// either may be missing.
func (n *Node) toInternet(dev string, ip4, ip6 netip.Addr, link []Link) error {
	l := n.lab
	with := l.link
	if len(link) > 0 {
		with = link[0]
	}
	port := fmt.Sprintf("n%d", n.number)
	var err error
	if n.uplink, err = plug(end{n.ns, dev}, end{l.inet, port}, with); err != nil {
		return err
	}
	n.ip4, n.ip6 = ip4, ip6
	if ip4.IsValid() {
		err := n.ns.ip("addr add %s/32 dev %s\nroute add default via %s dev %[2]s onlink", ip4, dev, inet4)
		if err == nil {
			err = l.inet.ip("route add %s/32 dev %s", ip4, port)
		}
		if err != nil {
			return err
		}
	}
	if !ip6.IsValid() {
		err := n.ns.settle(dev)
		if err == nil {
			err = l.inet.settle(port)
		}
		return err
	}
	err = n.ns.ip(`
		addr add %[3]s/64 dev %[2]s nodad
		addr add %[1]s/128 dev %[2]s nodad
		route add default via %[4]s dev %[2]s src %[1]s
	`, ip6, dev, lower, upper)
	if err == nil {
		err = l.inet.ip("addr add %[3]s/64 dev %[2]s nodad\nroute add %[1]s/128 via %[4]s dev %[2]s", ip6, port, upper, lower)
	}
	if err == nil {
		err = n.ns.settle(dev, lower, ip6)
	}
	if err == nil {
		err = l.inet.settle(port, upper)
	}
	return err
}

// toLAN plugs the node into the LAN of a NAT, where it gets the next free address.
func (n *Node) toLAN(dev string, nat *NAT) (err error) {
	nat.ports++
	port := fmt.Sprintf("p%d", nat.ports)
	if n.uplink, err = plug(end{n.ns, dev}, end{nat.ns, port}, Link{}); err != nil {
		return err
	}
	if err := nat.ns.ip("link set dev %s master lan", port); err != nil {
		return err
	}
	n.ip4, n.ip6 = netip.Addr{}, netip.Addr{}
	if nat.lan4.IsValid() {
		n.ip4 = nth(nat.lan4, nat.ports+1)
		if err := n.ns.ip("addr add %s/24 dev %s\nroute add default via %s", n.ip4, dev, nth(nat.lan4, 1)); err != nil {
			return err
		}
	}
	if nat.lan6.IsValid() {
		n.ip6 = nth(nat.lan6, nat.ports+1)
		err := n.ns.ip("addr add %s/64 dev %s nodad\nroute add default via %s dev %[2]s", n.ip6, dev, upper)
		if err != nil {
			return err
		}
	}
	if err := n.ns.settle(dev, n.ip6); err != nil {
		return err
	}
	if err := nat.ns.settle(port); err != nil {
		return err
	}
	return nat.ns.settle("lan", nat.gateway6())
}
