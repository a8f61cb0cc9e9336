package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A hop is one request of a lookup and what came of it.
type hop struct {
	Peer       wire.PeerID `json:"peer"`
	CommonBits int         `json:"common_bits"` // of the peer's key and the target
	Store      bool        `json:"store,omitempty"`
	Value      bool        `json:"value,omitempty"` // the answer held the value
	Closer     int         `json:"closer"`          // contacts it named
	TookMS     float64     `json:"took_ms"`
	Error      string      `json:"error,omitempty"`
	Unanswered bool        `json:"unanswered,omitempty"` // when the operation was over

	took time.Duration
}

// sentence tells of the hop, the peer being called by name.
func (h hop) sentence(name string) string {
	verb := "asks"
	if h.Store {
		verb = "stores on"
	}
	switch {
	case h.Unanswered:
		return fmt.Sprintf("%s %s: not waited for", verb, name)
	case h.Error != "":
		return fmt.Sprintf("%s %s: no answer, given up after %s: %s", verb, name, took(h.took), oneLine(h.Error))
	}
	what := "names " + plural(h.Closer, "node")
	switch {
	case h.Value:
		what = "has the value"
	case h.Store:
		what = "has stored"
	case h.Closer == 0:
		what = "knows nobody nearer"
	}
	return fmt.Sprintf("%s %s: %s, %s", verb, name, what, took(h.took))
}

// A recorder keeps the hops of one operation, in the order in which the peers
// were asked. The zero value is ready; it is safe for concurrent use.
type recorder struct {
	each func(hop) // if not nil, called with each hop as it ends, one at a time

	mu  sync.Mutex
	all []*tracked
}

// A tracked hop may be still under way.
type tracked struct {
	hop
	lookup uint64
	since  time.Time
	ended  bool
}

// trace is what to give to [node.WithTrace].
func (r *recorder) trace() *node.Trace {
	return &node.Trace{
		Query: func(e node.QueryEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.all = append(r.all, &tracked{
				hop:    hop{Peer: e.Peer, CommonBits: e.CPL, Store: e.Store},
				lookup: e.Lookup,
				since:  time.Now(),
			})
		},
		Answer: func(e node.AnswerEvent) {
			r.end(e.Lookup, e.Peer, e.Store, func(h *hop) {
				h.Value, h.Closer, h.took = e.Value, e.Closer, e.RTT
			})
		},
		Fail: func(e node.FailEvent) {
			r.end(e.Lookup, e.Peer, e.Store, func(h *hop) { h.Error = e.Err.Error() })
		},
	}
}

// end completes the hop to peer that is under way.
func (r *recorder) end(lookup uint64, peer wire.PeerID, store bool, finish func(*hop)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		if t.ended || t.lookup != lookup || t.Peer != peer || t.Store != store {
			continue
		}
		t.ended = true
		t.took = time.Since(t.since)
		finish(&t.hop)
		t.TookMS = ms(t.took)
		if r.each != nil {
			r.each(t.hop)
		}
		return
	}
}

// hops returns what was recorded.
func (r *recorder) hops() []hop {
	r.mu.Lock()
	defer r.mu.Unlock()
	hops := make([]hop, len(r.all))
	for i, t := range r.all {
		hops[i] = t.hop
		hops[i].Unanswered = !t.ended
	}
	return hops
}
