package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A setup is the configuration of one end of a new cable: commands of ip(8), and the IPv6
// addresses that it then has.
type setup struct {
	end
	text  strings.Builder
	addrs []netip.Addr
}

func (s *setup) ip(format string, args ...any) { fmt.Fprintf(&s.text, format+"\n", args...) }

// ip6 gives the device an IPv6 address.
func (s *setup) ip6(a netip.Addr, bits int) {
	s.ip("addr add %s/%d dev %s nodad", a, bits, s.dev)
	s.addrs = append(s.addrs, a)
}

// do returns when all is as it was told.
func (s *setup) do() error {
	if err := s.ns.ip("%s", s.text.String()); err != nil {
		return err
	}
	return s.ns.settle(s.dev, s.addrs...)
}

// toInternet joins the node to the internet by a link between two addresses, of which
// either may be missing.
func (n *Node) toInternet(dev string, ip4, ip6 netip.Addr, link []Link) (err error) {
	with := n.lab.link
	if len(link) > 0 {
		with = link[0]
	}
	near := setup{end: end{n.ns, dev}}
	far := setup{end: end{n.lab.inet, n.inetDevice()}}
	if n.uplink, err = plug(near.end, far.end, with); err != nil {
		return err
	}
	n.ip4, n.ip6 = ip4, ip6
	if ip4.IsValid() {
		near.ip("addr add %s/32 dev %s", ip4, near.dev)
		near.ip("route add default via %s dev %s onlink", inet4, near.dev)
		far.ip("route add %s/32 dev %s", ip4, far.dev)
	}
	if ip6.IsValid() {
		near.ip6(lower, 64)
		near.ip6(ip6, 128)
		near.ip("route add default via %s dev %s src %s", upper, near.dev, ip6)
		far.ip6(upper, 64)
		far.ip("route add %s/128 via %s dev %s", ip6, lower, far.dev)
	}
	return errors.Join(near.do(), far.do())
}

// inetDevice is the internet's end of the node's link.
func (n *Node) inetDevice() string { return fmt.Sprintf("n%d", n.number) }

// toLAN plugs the node into the LAN of a NAT, where it gets the next free address.
func (n *Node) toLAN(dev string, nat *NAT) (err error) {
	nat.ports++
	near := setup{end: end{n.ns, dev}}
	far := setup{end: end{nat.ns, fmt.Sprintf("p%d", nat.ports)}}
	lan := setup{end: end{nat.ns, "lan"}}
	if n.uplink, err = plug(near.end, far.end, Link{}); err != nil {
		return err
	}
	far.ip("link set dev %s master %s", far.dev, lan.dev)
	n.ip4, n.ip6 = netip.Addr{}, netip.Addr{}
	if nat.lan4.IsValid() {
		n.ip4 = nth(nat.lan4, nat.ports+1)
		near.ip("addr add %s/24 dev %s", n.ip4, near.dev)
		near.ip("route add default via %s", nth(nat.lan4, 1))
	}
	if nat.lan6.IsValid() {
		n.ip6 = nth(nat.lan6, nat.ports+1)
		near.ip6(n.ip6, 64)
		near.ip("route add default via %s dev %s", upper, near.dev)
		lan.addrs = append(lan.addrs, upper) // makeLAN has given it that
	}
	return errors.Join(far.do(), near.do(), lan.do())
}
