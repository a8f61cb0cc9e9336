package node

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/kadquic/kadquic/internal/reach"
)

// virtualNames are prefixes of the names of interfaces that lead to containers and virtual
// machines of this host. If a prefix is missing, addresses that few peers can reach only
// rank higher in the list.
var virtualNames = []string{
	"br-", "bridge", "cali", "cbr", "cilium", "cni", "docker", "dummy", "flannel", "kube", "lxc", "lxd",
	"nerdctl", "podman", "tap", "utun", "vboxnet", "vEthernet", "veth", "virbr", "vmnet", "vnet", "weave",
}

// outside are addresses of the documentation networks (RFC 5737, RFC 3849): they are
// routed by the default route. The node sends nothing to them.
var outside = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// machineInterfaces returns the addresses of the machine's interfaces.
func machineInterfaces() (all []reach.Interface) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var defaults []netip.Addr
	for _, to := range outside {
		defaults = append(defaults, sourceTo(to))
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface has just disappeared
		}
		virtual := slices.ContainsFunc(virtualNames, func(name string) bool { return strings.HasPrefix(i.Name, name) })
		for _, a := range addrs {
			ipnet, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(ipnet.IP)
			if !ok {
				continue
			}
			ip = ip.Unmap()
			bits, _ := ipnet.Mask.Size()
			all = append(all, reach.Interface{
				Prefix:  netip.PrefixFrom(ip, min(bits, ip.BitLen())),
				Default: slices.Contains(defaults, ip),
				Virtual: virtual,
			})
		}
	}
	return all
}
