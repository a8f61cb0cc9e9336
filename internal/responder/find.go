package responder

import (
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// pageBytes is the room for records in one page; contacts take a third of a frame at most.
const pageBytes = 40 << 10

// Serve answers a request, now or when its records are on disk. It returns false for messages
// that belong to other parts of the node. An error means that the connection has failed.
func (r *Responder) Serve(p Peer, id uint64, m wire.Message, now time.Time) (handled bool, err error) {
	switch m := m.(type) {
	case wire.FindNode:
		return true, r.serveFindNode(p, id, m, now)
	case wire.FindValue:
		return true, r.serveFindValue(p, id, m, now)
	case wire.GetProviders:
		return true, r.serveProviders(p, id, m, now)
	case wire.Offer:
		return true, r.serveOffer(p, id, m, now)
	case wire.Store:
		return true, r.serveStore(p, id, m, now)
	}
	return false, nil
}

// serveFindNode answers with the contacts nearest to a key, and the record of the peer whose
// key this is.
func (r *Responder) serveFindNode(p Peer, id uint64, m wire.FindNode, now time.Time) error {
	room := contactRooms.Get().(*contactRoom)
	defer contactRooms.Put(room)
	return p.Reply(id, wire.Nodes{
		Contacts: r.contactsNear(p, room, m.Key, m.Count, routing.Key{}),
		Record:   r.peerRecord(m.Key, now),
	})
}

// serveFindValue answers with records under a key, and the contacts nearest to it.
func (r *Responder) serveFindValue(p Peer, id uint64, m wire.FindValue, now time.Time) error {
	room := contactRooms.Get().(*contactRoom)
	defer contactRooms.Put(room)
	v := wire.Value{Contacts: r.contactsNear(p, room, m.Key, m.Count, routing.Key{})}
	if m.All {
		v.Records, v.More = r.pageOf(m.Kind, m.Key, m.After, now)
	} else {
		v.Records = r.Host.Store().Get(now, m.Kind, m.Key, wire.MaxRecords)
	}
	return p.Reply(id, v)
}

// serveProviders answers GET_PROVIDERS with a page of records.
func (r *Responder) serveProviders(p Peer, id uint64, m wire.GetProviders, now time.Time) error {
	room := contactRooms.Get().(*contactRoom)
	defer contactRooms.Put(room)
	records, more := r.pageOf(wire.KindProvider, m.Key, m.After, now)
	return p.Reply(id, wire.Providers{
		Records:  records,
		More:     more,
		Contacts: r.contactsNear(p, room, m.Key, m.Count, routing.Key{}),
	})
}

// pageOf returns a page of the records that this node holds, which begins behind the publisher
// after, and whether there is more.
func (r *Responder) pageOf(kind wire.Kind, key routing.Key, after wire.PeerID, now time.Time) (page []*wire.Signed, more bool) {
	return r.Host.Store().Page(now, kind, key, after, wire.MaxPage, pageBytes)
}

// peerRecord returns the signed record of the peer whose key this is, nil if it is not known.
func (r *Responder) peerRecord(key routing.Key, now time.Time) *wire.Signed {
	if key == r.key {
		return r.Host.OwnRecord()
	}
	if held := r.Host.Store().Get(now, wire.KindPeer, key, 1); len(held) > 0 {
		return held[0]
	}
	if !r.Table.Contains(key) {
		return nil
	}
	for _, c := range r.Table.Nearest(nil, key, 1) {
		return r.Host.RecordOf(c.Addr.ID, now)
	}
	return nil
}
