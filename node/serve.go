package node

import (
	"errors"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// serve answers one frame of the peer's. FIND is answered here, in the reader;
// STORE waits for the store's writer, so that its fsync never delays a lookup.
// What is no request is passed over. An error ends the link.
func (l *link) serve(f wire.Frame, invalid *wire.InvalidError) error {
	n := l.node
	now := time.Now()
	tooMany := l.requests != nil && !l.requests.AllowN(now, 1)
	switch m := f.Body.(type) {
	case wire.Observed:
		if !tooMany && !l.isKnock() {
			n.observed(l, m.Addr)
		}
		return nil
	case wire.Hello:
		if !tooMany && !l.isKnock() { // it costs a signature
			n.hello(l, m, now)
		}
		return nil
	}
	if !f.IsRequest() {
		return nil
	}
	l.conn.Touch() // to be asked is to be of use
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

// contactsNear names the count contacts nearest to key, but for the asker, each
// with the addresses at which we ourselves authenticated it. With a bound, only
// those nearer to key than that. They stand in room.
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

// A contactRoom is where the contacts of a reply are gathered until it is
// encoded.
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

// A storeJob is one STORE request on its way to the store's writer.
type storeJob struct {
	link   *link
	id     uint64
	req    wire.Store
	codes  []wire.Code  // per record; CodeOK until refused
	items  []store.Item // the records that verified
	origin []int        // their places in the request
}

// maxForged is how many wrong signatures in one request are found out, at 50 µs
// each, before the rest of it is refused unseen.
const maxForged = 3

// serveStore verifies the records and queues those that hold for the writer.
func (l *link) serveStore(id uint64, m wire.Store, now time.Time) error {
	n := l.node
	if n.mode() == wire.ModeClient {
		return l.Refuse(id, wire.CodeUnimplemented, "a client stores nothing")
	}
	size := 0
	for _, s := range m.Records {
		size += len(s.Payload)
	}
	if l.stores != nil && !l.stores.AllowN(now, size) {
		return l.Refuse(id, wire.CodeBusy, "too many bytes to store")
	}
	job := storeJob{link: l, id: id, req: m, codes: make([]wire.Code, len(m.Records))}
	forged := 0
	for i, s := range m.Records {
		if forged == maxForged {
			job.codes[i] = wire.CodeBusy
			continue
		}
		if err := n.verify(s, now); err != nil {
			job.codes[i] = verifyCode(err)
			switch {
			case errors.Is(err, wire.ErrBadSignature):
				forged++
			case errors.Is(err, errNoResult): // one is enough to wait for
				forged = maxForged
			}
			continue
		}
		it := n.item(s, l, m.Count > 0, now)
		if it.IfSeq = m.IfSeq; it.IfSeq != nil && it.Cached { // others are to decide
			job.codes[i] = wire.CodeTooFar
			continue
		}
		job.items = append(job.items, it)
		job.origin = append(job.origin, i)
	}
	if len(job.items) == 0 {
		return l.stored(job)
	}
	select {
	case n.storeJobs <- job:
		return nil
	default:
		return l.Refuse(id, wire.CodeBusy, "too many records to store")
	}
}

// stored answers a STORE, naming contacts as FIND_NODE does: those nearer to
// the key than the asker's bound.
func (l *link) stored(job storeJob) error {
	reply := wire.Stored{Results: job.codes}
	if len(job.req.Records) > 0 && job.req.Count > 0 {
		room := contactRooms.Get().(*contactRoom)
		defer contactRooms.Put(room)
		reply.Contacts = l.contactsNear(room, job.req.Records[0].Record.Key, job.req.Count, job.req.Bound)
	}
	return l.Reply(job.id, reply)
}

// writeStores is the store's writer: it gathers what is waiting into one
// batch, so that one fsync serves many requests, and then answers.
func (n *Node) writeStores() {
	for {
		var jobs []storeJob
		select {
		case job := <-n.storeJobs:
			jobs = append(jobs, job)
		case <-n.ctx.Done():
			return
		}
	gather:
		for len(jobs) < 64 {
			select {
			case job := <-n.storeJobs:
				jobs = append(jobs, job)
			default:
				break gather
			}
		}
		var batch []store.Item
		for _, job := range jobs {
			batch = append(batch, job.items...)
		}
		results := n.values.Put(time.Now(), batch)
		for _, job := range jobs {
			for i, origin := range job.origin {
				if job.codes[origin] = storeCode(results[i]); results[i] == nil && job.items[i].Cached {
					job.codes[origin] = wire.CodeTooFar // a copy for a while: nobody is to count on it
				}
			}
			results = results[len(job.origin):]
			job.link.stored(job) // an error ends the link, which its reader sees
		}
	}
}
