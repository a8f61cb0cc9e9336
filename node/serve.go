package node

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// serve handles one frame of the peer. It answers FIND in the goroutine that reads; STORE waits for the
// store's writer, so that its fsync never delays a lookup. It ignores frames that are not
// requests. An error ends the link.
func (l *link) serve(f wire.Frame, invalid *wire.InvalidError) error {
	n := l.node
	now := time.Now()
	tooMany := l.requests != nil && !l.requests.AllowN(now, 1)
	switch m := f.Body.(type) {
	case wire.Observed:
		if !tooMany && !l.isDialBackProbe() {
			n.observed(l, m.Addr)
		}
		return nil
	case wire.Hello:
		if !tooMany && !l.isDialBackProbe() { // it costs a signature
			n.hello(l, m, now)
		}
		return nil
	}
	if !f.IsRequest() {
		return nil
	}
	l.conn.Touch() // a request counts as use of the connection
	if tooMany {
		return l.Refuse(f.ID, wire.CodeBusy, "too many requests")
	}
	if invalid != nil {
		return l.Refuse(f.ID, invalid.Code, invalid.Reason)
	}
	if l.IsServer() {
		n.heardFrom(l, now)
	}
	switch m := f.Body.(type) {
	case wire.Ping:
		n.served.pings.Add(1)
		return l.Reply(f.ID, wire.Pong{})
	case wire.FindNode:
		n.served.findNodes.Add(1)
		room := contactRooms.Get().(*contactRoom)
		defer contactRooms.Put(room)
		return l.Reply(f.ID, wire.Nodes{
			Contacts: l.contactsNear(room, m.Key, m.Count, routing.Key{}),
			Record:   n.peerRecord(m.Key, now),
		})
	case wire.FindValue:
		n.served.findValues.Add(1)
		room := contactRooms.Get().(*contactRoom)
		defer contactRooms.Put(room)
		v := wire.Value{Contacts: l.contactsNear(room, m.Key, m.Count, routing.Key{})}
		if m.All {
			v.Records, v.More = n.pageOf(m.Kind, m.Key, m.After, now)
		} else {
			v.Records = n.values.Get(now, m.Kind, m.Key, wire.MaxRecords)
		}
		return l.Reply(f.ID, v)
	case wire.GetProviders:
		n.served.getProviders.Add(1)
		return l.serveProviders(f.ID, m, now)
	case wire.Offer:
		n.served.offers.Add(1)
		return l.serveOffer(f.ID, m, now)
	case wire.DialBack:
		n.served.dialBacks.Add(1)
		return l.serveDialBack(f.ID, m, now)
	case wire.Reserve:
		return l.serveReserve(f.ID, m, now)
	case wire.Call:
		return l.serveCall(f.ID, m, now)
	case wire.Store:
		n.served.stores.Add(1)
		return l.serveStore(f.ID, m, now)
	default:
		return l.Refuse(f.ID, wire.CodeUnimplemented, "")
	}
}

func (l *link) Reply(id uint64, m wire.Message) error {
	return l.rpc.Send(wire.Frame{ID: id, Body: m})
}

func (l *link) Refuse(id uint64, code wire.Code, why string) error {
	return l.Reply(id, wire.Error{Code: code, Message: why})
}

// contactsNear returns the count contacts nearest to key, without the asker, each with the
// addresses at which this node authenticated it. With a bound, only contacts nearer to key
// than the bound. It uses the room for the result.
func (l *link) contactsNear(room *contactRoom, key routing.Key, count int, bound routing.Key) []wire.Contact {
	n := l.node
	count = min(count, n.config.K)
	if count <= 0 {
		return nil
	}
	near := n.routes.Nearest(room.near[:0], key, count+1)
	contacts := room.told[:0]
	for _, c := range near {
		if bound != (routing.Key{}) && key.CompareDistance(c.Key, bound) >= 0 {
			break
		}
		at := c.Addr.Addrs()
		if c.Key == l.key || len(contacts) == count || len(at) == 0 {
			continue
		}
		contacts = append(contacts, wire.Contact{ID: c.Addr.ID, Addrs: at})
	}
	return contacts
}

// A contactRoom holds the contacts of a reply until it is encoded.
type contactRoom struct {
	near [wire.MaxContacts + 1]contact
	told [wire.MaxContacts]wire.Contact
}

var contactRooms = sync.Pool{New: func() any { return new(contactRoom) }}

// peerRecord returns the signed record of the peer whose key this is, if held.
func (n *Node) peerRecord(key routing.Key, now time.Time) *wire.Signed {
	if key == n.key {
		return n.ownRecord()
	}
	if held := n.values.Get(now, wire.KindPeer, key, 1); len(held) > 0 {
		return held[0]
	}
	if !n.routes.Contains(key) {
		return nil
	}
	for _, c := range n.routes.Nearest(nil, key, 1) {
		return n.recordOf(c.Addr.ID, now)
	}
	return nil
}

// serveProviders answers GET_PROVIDERS with a page of records.
func (l *link) serveProviders(id uint64, m wire.GetProviders, now time.Time) error {
	room := contactRooms.Get().(*contactRoom)
	defer contactRooms.Put(room)
	records, more := l.node.pageOf(wire.KindProvider, m.Key, m.After, now)
	return l.Reply(id, wire.Providers{
		Records:  records,
		More:     more,
		Contacts: l.contactsNear(room, m.Key, m.Count, routing.Key{}),
	})
}

// pageBytes is the room for records in one page; contacts take a third of a frame at most.
const pageBytes = 40 << 10

// pageOf returns a page of the records that this node holds, which begins behind the publisher after,
// and whether there is more.
func (n *Node) pageOf(kind wire.Kind, key routing.Key, after wire.PeerID, now time.Time) (page []*wire.Signed, more bool) {
	return n.values.Page(now, kind, key, after, wire.MaxPage, pageBytes)
}
