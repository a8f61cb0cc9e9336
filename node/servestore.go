package node

import (
	"errors"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// A storeJob is one STORE request on its way to the store's writer.
type storeJob struct {
	link   *link
	id     uint64
	req    wire.Store
	codes  []wire.Code  // per record; CodeOK until refused
	items  []store.Item // the records that verified
	origin []int        // their places in the request
}

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
		if forged == search.MaxForged {
			job.codes[i] = wire.CodeBusy
			continue
		}
		if err := n.search.Verify(s, now); err != nil {
			job.codes[i] = search.VerifyCode(err)
			switch {
			case errors.Is(err, wire.ErrBadSignature):
				forged++
			case errors.Is(err, search.ErrOverdue): // wait for one such record only
				forged = search.MaxForged
			}
			continue
		}
		it := n.item(s, l, m.Count > 0, now)
		if it.IfSeq = m.IfSeq; it.IfSeq != nil && it.Cached { // the nearer holders decide
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

// writeStores is the store's writer. It combines the waiting requests into one batch, so that one fsync
// serves all of them, and then answers.
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
					job.codes[origin] = wire.CodeTooFar // a copy for a while: the sender must not count it
				}
			}
			results = results[len(job.origin):]
			job.link.stored(job) // an error ends the link, which its reader sees
		}
	}
}

// storeCode is the code that tells a peer of an error of the store.
func storeCode(err error) wire.Code {
	if err == nil {
		return wire.CodeOK
	}
	var code wire.Code
	if errors.As(err, &code) {
		return code
	}
	return wire.CodeInternal
}

// item returns the store item of a verified record. Beyond the k nearest nodes it is a cached
// copy, which lives the shorter the farther this node is from its key (Kademlia §2.3). With
// placed, the sender has looked up the k nearest live nodes, or is one of them. It may know
// of dead ones that this node still counts, so a few beyond k are holders, too.
func (n *Node) item(s *wire.Signed, l *link, placed bool, now time.Time) store.Item {
	var nearer, neighbours int
	var neighbour, suppresses bool
	n.routes.Locked(func(t *table) {
		nearer = t.Closer(s.Record.Key)
		neighbour = l.IsServer() && n.key.CommonPrefixLen(l.key) >= t.Complete()
		neighbours = t.Len()
		suppresses = s.Record.Publisher == l.id || l.suppressesRepublish(t, s.Record.Key)
	})
	holders := n.config.K
	if placed || suppresses {
		holders = search.Holders(holders)
	}
	left := s.Record.Expiry.Sub(now)
	return store.Item{
		Record:    s,
		Source:    l.addr.Addr(),
		Neighbour: neighbour, Neighbours: neighbours,
		Cached:     nearer > holders,
		NoSuppress: !suppresses,
		Life:       store.CacheLife(s.Record.Kind, left, nearer, holders),
	}
}
