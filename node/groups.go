package node

import (
	"github.com/kadquic/kadquic/internal/reach"
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
	case !ok || reach.ScopeOf(ap.Addr()) != reach.ScopeGlobal:
		return nil
	case ap.Addr().Is4():
		return []routing.Group{{Name: reach.NetworkOf(ap.Addr()), PerBucket: 2, PerTable: 5}}
	}
	return []routing.Group{
		{Name: reach.NetworkOf(ap.Addr()), PerBucket: 1, PerTable: 2},
		{Name: reach.SiteOf(ap.Addr()), PerBucket: 3, PerTable: 10},
	}
}
