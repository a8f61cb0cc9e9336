package responder

import (
	"context"
	"errors"
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// serveStore verifies the records and queues the good ones for the writer.
func (r *Responder) serveStore(p Peer, id uint64, m wire.Store, now time.Time) error {
	if !r.Host.IsServer() {
		return refuse(p, id, wire.CodeUnimplemented, refusedByClient)
	}
	size := 0
	for _, s := range m.Records {
		size += len(s.Payload)
	}
	if !p.AllowStore(now, size) {
		return refuse(p, id, wire.CodeBusy, "too many bytes to store")
	}
	job := storeJob{peer: p, id: id, req: m, codes: make([]wire.Code, len(m.Records))}
	forged := 0
	for i, s := range m.Records {
		if forged >= r.MaxForged {
			job.codes[i] = wire.CodeBusy
			continue
		}
		if v := r.Host.Check(s, now); v.Code != wire.CodeOK {
			job.codes[i] = v.Code
			switch {
			case v.Slow:
				forged = r.MaxForged
			case v.Forged:
				forged++
			}
			continue
		}
		it := r.item(s, p, m.Count > 0, now)
		if it.IfSeq = m.IfSeq; it.IfSeq != nil && it.Cached { // the nearer holders decide
			job.codes[i] = wire.CodeTooFar
			continue
		}
		job.items = append(job.items, it)
		job.origin = append(job.origin, i)
	}
	if len(job.items) == 0 {
		return r.stored(job)
	}
	select {
	case r.jobs <- job:
		return nil
	default:
		return refuse(p, id, wire.CodeBusy, "too many records to store")
	}
}

// item returns the store item of a verified record. Beyond the k nearest nodes it is a cached
// copy, which lives the shorter the farther this node is from its key (Kademlia §2.3). With
// placed, the sender has looked up the k nearest live nodes: see Config.Slack.
func (r *Responder) item(s *wire.Signed, p Peer, placed bool, now time.Time) store.Item {
	var nearer, neighbours int
	var neighbour, suppresses bool
	r.Table.Each(1, func(t *table, _ int) {
		nearer = t.Closer(s.Record.Key)
		neighbour = p.IsServer() && r.key.CommonPrefixLen(p.Key()) >= t.Complete()
		neighbours = t.Len()
		suppresses = s.Record.Publisher == p.ID() || r.suppressesRepublish(t, p, s.Record.Key)
	})
	holders := r.K
	if placed || suppresses {
		holders += r.Slack
	}
	left := s.Record.Expiry.Sub(now)
	return store.Item{
		Record:    s,
		Source:    p.Source(),
		Neighbour: neighbour, Neighbours: neighbours,
		Cached:     nearer > holders,
		NoSuppress: !suppresses,
		Life:       store.CacheLife(s.Record.Kind, left, nearer, holders),
	}
}

// stored answers a STORE, naming contacts as FIND_NODE does: those nearer to
// the key than the asker's bound.
func (r *Responder) stored(job storeJob) error {
	reply := wire.Stored{Results: job.codes}
	if len(job.req.Records) > 0 && job.req.Count > 0 {
		room := contactRooms.Get().(*contactRoom)
		defer contactRooms.Put(room)
		reply.Contacts = r.contactsNear(job.peer, room, job.req.Records[0].Record.Key, job.req.Count, job.req.Bound)
	}
	return job.peer.Reply(job.id, reply)
}

// maxBatch is how many STORE requests one fsync serves.
const maxBatch = 64

// WriteStores is the store's writer, until ctx ends. It puts the waiting requests into one
// batch, so that one fsync serves all of them, and then answers.
func (r *Responder) WriteStores(ctx context.Context) {
	for {
		var jobs []storeJob
		select {
		case job := <-r.jobs:
			jobs = append(jobs, job)
		case <-ctx.Done():
			return
		}
	gather:
		for len(jobs) < maxBatch {
			select {
			case job := <-r.jobs:
				jobs = append(jobs, job)
			default:
				break gather
			}
		}
		r.write(jobs)
	}
}

// write stores the records of the jobs in one batch, and answers.
func (r *Responder) write(jobs []storeJob) {
	var batch []store.Item
	for _, job := range jobs {
		batch = append(batch, job.items...)
	}
	results := r.Host.Store().Put(time.Now(), batch)
	for _, job := range jobs {
		for i, origin := range job.origin {
			if job.codes[origin] = codeOf(results[i]); results[i] == nil && job.items[i].Cached {
				job.codes[origin] = wire.CodeTooFar // a copy for a while: the sender must not count it
			}
		}
		results = results[len(job.origin):]
		r.stored(job) // an error ends the connection, which its reader sees
	}
}

// codeOf is the code that tells a peer of an error of the store.
func codeOf(err error) wire.Code {
	if err == nil {
		return wire.CodeOK
	}
	var code wire.Code
	if errors.As(err, &code) {
		return code
	}
	return wire.CodeInternal
}
