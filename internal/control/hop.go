package control

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A Hop is one request of a lookup and its outcome.
type Hop struct {
	Peer       wire.PeerID `json:"peer"`
	CommonBits int         `json:"common_bits"` // of the peer's key and the target
	Store      bool        `json:"store,omitempty"`
	Value      bool        `json:"value,omitempty"` // the answer held the value
	Closer     int         `json:"closer"`          // contacts it named
	Took       Duration    `json:"took_ms"`
	Error      string      `json:"error,omitempty"`
	Unanswered bool        `json:"unanswered,omitempty"` // when the operation was over
}

// A Recorder keeps the hops of one operation, in the order in which the peers
// were asked. The zero value is ready; it is safe for concurrent use.
type Recorder struct {
	Each func(Hop) // if not nil, called with each hop as it ends, one at a time; must not block

	mu  sync.Mutex
	all []*tracked
}

// A tracked hop may be still under way.
type tracked struct {
	Hop
	lookup uint64
	since  time.Time
	ended  bool
}

// Trace is what to give to [node.WithTrace].
func (r *Recorder) Trace() *node.Trace {
	return &node.Trace{
		Query: func(e node.QueryEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.all = append(r.all, &tracked{
				Hop:    Hop{Peer: e.Peer, CommonBits: e.CPL, Store: e.Store},
				lookup: e.Lookup,
				since:  time.Now(),
			})
		},
		Answer: func(e node.AnswerEvent) {
			r.end(e.Lookup, e.Peer, e.Store, func(h *Hop) {
				h.Value, h.Closer, h.Took = e.Value, e.Closer, Duration(e.RTT)
			})
		},
		Fail: func(e node.FailEvent) {
			r.end(e.Lookup, e.Peer, e.Store, func(h *Hop) { h.Error = e.Err.Error() })
		},
	}
}

// end completes the hop to peer that is under way.
func (r *Recorder) end(lookup uint64, peer wire.PeerID, store bool, finish func(*Hop)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		if t.ended || t.lookup != lookup || t.Peer != peer || t.Store != store {
			continue
		}
		t.ended = true
		t.Took = Duration(time.Since(t.since))
		finish(&t.Hop)
		if r.Each != nil {
			r.Each(t.Hop)
		}
		return
	}
}

// Hops returns what was recorded.
func (r *Recorder) Hops() []Hop {
	r.mu.Lock()
	defer r.mu.Unlock()
	hops := make([]Hop, len(r.all))
	for i, t := range r.all {
		hops[i] = t.Hop
		hops[i].Unanswered = !t.ended
	}
	return hops
}
