package node

import (
	"net/netip"

	"github.com/kadquic/kadquic/routing"
)

// groups names the networks that a contact belongs to, for the table's limits
// on contacts from one place: an attacker has many keys sooner than many
// networks. Loopback and private addresses are exempt.
func (n *Node) groups(c contact) []routing.Group {
	at := c.Addr.addrs()
	if len(at) == 0 {
		return nil
	}
	ap, ok := at[0].AddrPort()
	switch {
	case !ok || scopeOf(ap.Addr()) != scopeGlobal:
		return nil
	case ap.Addr().Is4():
		return []routing.Group{{Name: prefix(ap.Addr(), 24), PerBucket: 2, PerTable: 5}}
	}
	return []routing.Group{
		{Name: prefix(ap.Addr(), 64), PerBucket: 1, PerTable: 2},
		{Name: prefix(ap.Addr(), 48), PerBucket: 3, PerTable: 10},
	}
}

func prefix(a netip.Addr, bits int) netip.Prefix {
	p, _ := a.Prefix(bits) // fails only for more bits than the address has
	return p
}
