package natlab

// A Host is a machine that programs run on.
type Host struct {
	Node
	nat *NAT
}

// Public adds a host with a public IPv4 and IPv6 address. Without a link it has that
// of Config.
func (l *Lab) Public(name string, link ...Link) *Host {
	l.t.Helper()
	h := l.newHost(name)
	h.kind = Public.String()
	l.must(h.toInternet("eth0", public4(h.number), public6(h.number), link), "connect %s", name)
	return h
}

// Host adds a host on the LAN of a NAT.
func (l *Lab) Host(name string, nat *NAT) *Host {
	l.t.Helper()
	h := l.newHost(name)
	h.nat, h.kind = nat, "behind "+nat.name
	l.must(h.toLAN("eth0", nat), "connect %s to %s", name, nat.name)
	return h
}

// Home adds a host behind its own NAT, or a public host if that is the kind.
func (l *Lab) Home(name string, kind Kind, options ...Options) *Host {
	l.t.Helper()
	if kind == Public {
		return l.Public(name)
	}
	return l.Host(name, l.NAT(name+"-nat", kind, options...))
}

func (l *Lab) newHost(name string) *Host {
	l.t.Helper()
	h := &Host{Node: Node{name: name}}
	l.add(&h.Node)
	var err error
	h.ns, err = l.newSpace()
	l.must(err, "make host %s", name)
	l.must(h.ns.nft(countRules), "count what %s sends", name)
	return h
}

// NAT is the NAT that the host is behind, nil for a public host.
func (h *Host) NAT() *NAT { return h.nat }

// Move takes the host from its network and connects it to the LAN of another NAT, as
// when one leaves home with a phone: its interface goes, and one with another address
// comes. A host that was cut off is so no more.
func (h *Host) Move(to *NAT) {
	l := h.lab
	l.t.Helper()
	l.must(h.uplink.restore(), "restore the uplink of %s", h.name) // the rules go by the device's name
	l.must(h.uplink.unplug(), "disconnect %s", h.name)
	l.must(h.toLAN("eth0", to), "connect %s to %s", h.name, to.name)
	h.nat, h.kind = to, "behind "+to.name
}
