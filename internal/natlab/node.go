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

// Command is exec.CommandContext on this node. Files, users and environment are those of the
// test; only the network differs. Signals and exit status work as without a lab, and the
// process dies with the test.
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

// Cut drops all packets on the node's uplink, in both directions. Sends still succeed.
func (n *Node) Cut() {
	n.lab.t.Helper()
	n.lab.must(n.uplink.cut(), "cut %s off", n.name)
}

// Restore undoes Cut.
func (n *Node) Restore() {
	n.lab.t.Helper()
	n.lab.must(n.uplink.restore(), "restore the uplink of %s", n.name)
}

// Counters count a node's UDP packets that crossed its uplink, and their bytes with IP and UDP
// headers. A batch that a program sends by segmentation offload counts as one packet on a link
// without Delay, Jitter, Loss or Rate, which does not split it.
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
