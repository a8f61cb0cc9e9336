package responder

import (
	"sync"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A contactRoom holds the contacts of a reply until it is encoded.
type contactRoom struct {
	near [wire.MaxContacts + 1]contact
	told [wire.MaxContacts]wire.Contact
}

var contactRooms = sync.Pool{New: func() any { return new(contactRoom) }}

// contactsNear returns the count contacts nearest to key, without the asker, each with the
// addresses at which this node authenticated it. With a bound, only contacts nearer to key
// than the bound. It uses the room for the result.
func (r *Responder) contactsNear(p Peer, room *contactRoom, key routing.Key, count int, bound routing.Key) []wire.Contact {
	count = min(count, r.K)
	if count <= 0 {
		return nil
	}
	near := r.Table.Nearest(room.near[:0], key, count+1)
	contacts := room.told[:0]
	for _, c := range near {
		if bound != (routing.Key{}) && key.CompareDistance(c.Key, bound) >= 0 {
			break
		}
		at := c.Addr.Addrs()
		if c.Addr.ID == p.ID() || len(contacts) == count || len(at) == 0 {
			continue
		}
		contacts = append(contacts, wire.Contact{ID: c.Addr.ID, Addrs: at})
	}
	return contacts
}
