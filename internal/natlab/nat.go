package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A NAT is a router with a LAN behind it.
type NAT struct {
	Node
	rewrites   bool // it is not just a firewall
	igd        *igd // nil if it maps no ports
	lan4, lan6 netip.Prefix
	ports      int // of the LAN that were ever used
}

// Options of a NAT. The zero value is what its kind does.
type Options struct {
	// Behind makes the NAT one of the hosts on another's LAN: double NAT.
	Behind *NAT
	// LAN is the subnet inside, an IPv4 /24 like "192.168.1.0/24", which two homes may
	// have in common. If empty, each has its own.
	LAN string
	// IPv6 adds a routed /64 behind a firewall that lets replies in: a home with both.
	IPv6 bool
	// IGD maps ports on request, by UPnP IGD, NAT-PMP and PCP. It needs miniupnpd; without
	// it the test is skipped.
	IGD bool
	// Hairpin lets inside hosts reach each other by their external addresses.
	Hairpin bool
	// Timeout is after how long without a packet a mapping is forgotten, in whole
	// seconds. If zero, 60 s: RFC 4787 §4.3 asks for 2 minutes, and many do less.
	Timeout time.Duration
	// Ports chooses the external ports. If zero, as the kind does.
	Ports Ports
	// Link is the uplink to the internet. If zero, that of Config.
	Link Link
}

// Ports is a range of port numbers, both ends in it.
type Ports struct{ First, Last uint16 }

func (o Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return time.Minute
	}
	return o.Timeout
}

// NAT adds a NAT on the internet, or behind another.
func (l *Lab) NAT(name string, kind Kind, options ...Options) *NAT {
	l.t.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if kind == Carrier && o.Behind == nil {
		o.Behind = l.carrier(name+"-carrier", o.Link)
	}
	n := &NAT{Node: Node{name: name, kind: kind.String()}, rewrites: behaviours[kind].mapping != noMapping}
	l.add(&n.Node)
	var err error
	n.ns, err = l.newRouter()
	l.must(err, "make NAT %s", name)
	l.must(n.build(kind, o), "make NAT %s", name)
	return n
}

// carrier adds the NAT of a provider, with RFC 6598 addresses inside.
func (l *Lab) carrier(name string, link Link) *NAT {
	l.t.Helper()
	return l.NAT(name, PortRestricted, Options{LAN: carrier4(len(l.nodes) + 1).String(), Link: link})
}

func (n *NAT) build(kind Kind, o Options) error {
	switch {
	case kind == Public:
		return errors.New("public is no kind of NAT")
	case kind == IPv6Firewall:
		o.IPv6 = true
	default:
		n.lan4 = lan4(n.number)
		if o.LAN != "" {
			lan, err := netip.ParsePrefix(o.LAN)
			if err != nil || !lan.Addr().Is4() || lan.Bits() != 24 {
				return fmt.Errorf("LAN %q is not an IPv4 /24", o.LAN)
			}
			n.lan4 = lan.Masked()
		}
	}
	if o.IPv6 {
		if o.Behind != nil {
			return errors.New("IPv6 behind another NAT is not there")
		}
		n.lan6 = lan6(n.number)
	}
	if err := n.makeLAN(); err != nil {
		return err
	}
	if err := n.connect(o); err != nil {
		return err
	}
	timeout := int(o.timeout().Seconds())
	err := n.ns.sysctl(fmt.Sprintf("netfilter/nf_conntrack_udp_timeout=%d", timeout),
		fmt.Sprintf("netfilter/nf_conntrack_udp_timeout_stream=%d", timeout))
	if err != nil {
		return err
	}
	rules, err := rulesOf(n.ip4, kind, o)
	if err != nil {
		return err
	}
	if err := n.ns.nft(rules + countRules); err != nil {
		return err
	}
	if o.IGD {
		if err := missingTools("miniupnpd"); err != nil {
			n.lab.t.Skipf("natlab cannot map ports: %v", err)
		}
		n.igd, err = n.startIGD()
	}
	return err
}

func (n *NAT) makeLAN() error {
	err := n.ns.ip("link add name lan type bridge\nlink set lan up")
	if err == nil && n.lan4.IsValid() {
		err = n.ns.ip("addr add %s/24 dev lan", nth(n.lan4, 1))
	}
	if err == nil && n.lan6.IsValid() {
		err = n.ns.ip("addr add %s/64 dev lan nodad\nroute add %s dev lan", upper, n.lan6)
	}
	return err
}

func (n *NAT) connect(o Options) error {
	if o.Behind != nil {
		return n.toLAN("wan", o.Behind)
	}
	var ip4, ip6 netip.Addr
	if n.lan4.IsValid() {
		ip4 = outside4(n.number)
	}
	if n.lan6.IsValid() {
		ip6 = outside6(n.number)
	}
	var link []Link
	if o.Link != (Link{}) {
		link = append(link, o.Link)
	}
	err := n.toInternet("wan", ip4, ip6, link)
	if err == nil && ip6.IsValid() {
		err = n.lab.inet.ip("route add %s via %s dev %s", n.lan6, lower, n.uplink.ends[1].dev)
	}
	return err
}

// Reset makes the NAT forget its mappings and filters, as a reboot does. With Options.IGD it also
// forgets the ports that it mapped on request, and resets its epoch (RFC 6886 §3.6, RFC 6887
// §8.5).
func (n *NAT) Reset() {
	n.lab.t.Helper()
	n.lab.must(n.reset(), "reset %s", n.name)
}

// ForgetPorts makes a NAT with Options.IGD lose its mappings and the ports that it mapped on
// request, as a reload of its firewall does: the mapping daemon does not notice, and its
// epoch goes on.
func (n *NAT) ForgetPorts() {
	n.lab.t.Helper()
	n.lab.must(n.ns.nft(flushIGD), "take out the mapped ports of %s", n.name)
	n.lab.must(n.ns.do(flushConntrack), "flush the mappings of %s", n.name)
}

// reset lets nothing pass meanwhile: a flow that began during the flush could take
// over the mapping of one not yet flushed.
func (n *NAT) reset() error {
	flush := ""
	if n.rewrites {
		flush = "flush set ip nat peers\nflush map ip nat mappings\n"
	}
	err := n.ns.nft("table inet reboot { chain mute { type filter hook prerouting priority -400; policy drop; }; }\n" + flush)
	if err == nil {
		err = n.ns.do(flushConntrack)
	}
	if err == nil && n.igd != nil {
		n.igd.stop()
		if err = n.ns.nft(flushIGD); err == nil {
			n.igd, err = n.startIGD()
		}
	}
	if err == nil {
		err = n.ns.nft("delete table inet reboot")
	}
	return err
}
