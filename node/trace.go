package node

import (
	"context"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Trace is a set of functions called as things happen, like
// net/http/httptrace: for a whole node by Config.Trace, for one operation by
// [WithTrace]. Any of them may be nil. They are called from many goroutines,
// must not block, and must not call the node.
type Trace struct {
	Lookup func(LookupStart) // a lookup begins
	Query  func(QueryEvent)  // a request is sent
	Answer func(AnswerEvent) // and answered
	Fail   func(FailEvent)   // or not
	Done   func(LookupDone)  // the lookup is over
	Peer   func(PeerEvent)   // a peer enters or leaves the routing table
	Conn   func(ConnEvent)   // a connection has opened or closed
	Path   func(PathEvent)   // packets to a peer behind a NAT go another way
	Call   func(CallEvent)   // what becomes of a call through a relay
	Reach  func(ReachEvent)  // others reach the node, or do not; or its mode has changed
}

// LookupStart tells of a lookup that begins.
type LookupStart struct {
	ID     uint64 // of this lookup within this process
	Kind   string // "lookup", "put", "get", "find providers", "find peer", "durability", "replicate", "join", "refresh"
	Target routing.Key
}

func (e LookupStart) String() string { return fmt.Sprintf("%s %s", e.Kind, e.Target) }

// QueryEvent tells of a request sent.
type QueryEvent struct {
	Lookup uint64
	Peer   wire.PeerID
	Key    routing.Key // the peer's
	CPL    int         // bits that the peer's key shares with the target: the nearer the more
	Hop    int         // 1 for a contact of the table, 2 for a peer that it names, and so on
	Store  bool        // STORE, not FIND
}

func (e QueryEvent) String() string {
	verb := "ask"
	if e.Store {
		verb = "store on"
	}
	return fmt.Sprintf("%s %s (shares %d bits)", verb, e.Peer, e.CPL)
}

// AnswerEvent tells of an answer.
type AnswerEvent struct {
	Lookup uint64
	Peer   wire.PeerID
	CPL    int
	Store  bool
	RTT    time.Duration
	Closer int  // contacts named
	Value  bool // the answer held a valid value
}

func (e AnswerEvent) String() string {
	what := fmt.Sprintf("names %d peers", e.Closer)
	switch {
	case e.Value:
		what = "has the value"
	case e.Store:
		what = "has stored"
	}
	return fmt.Sprintf("%s %s, after %v", e.Peer, what, e.RTT.Round(10*time.Microsecond))
}

// FailEvent tells of a request that failed, or was refused.
type FailEvent struct {
	Lookup uint64
	Peer   wire.PeerID
	CPL    int
	Store  bool
	Err    error
}

func (e FailEvent) String() string { return fmt.Sprintf("%s failed: %v", e.Peer, e.Err) }

// LookupDone tells how a lookup ended.
type LookupDone struct {
	ID      uint64
	Found   int // peers that answered, of the k nearest; or that stored
	Queries int
	Failed  int
	Took    time.Duration
}

func (e LookupDone) String() string {
	return fmt.Sprintf("done: %d requests, %d failed, %v", e.Queries, e.Failed, e.Took.Round(10*time.Microsecond))
}

// PeerEvent tells of a change in the routing table: a peer has joined it, stopped
// answering (Silent), answered again (Back), or, with none of the three set, left.
type PeerEvent struct {
	Peer   wire.PeerID
	Addr   wire.Addr // where it was reached; empty when it left or is silent
	Joined bool
	// Silent: the peer left a request unanswered. It stays in the table until
	// another peer takes its place, and no lookup begins at it (Kademlia §4.1).
	Silent bool
	Back   bool // a silent peer answered
	Peers  int  // in the table now, silent ones included
}

func (e PeerEvent) String() string {
	switch {
	case e.Joined:
		return fmt.Sprintf("peer %s at %s", e.Peer, e.Addr)
	case e.Silent:
		return fmt.Sprintf("peer %s does not answer", e.Peer)
	case e.Back:
		return fmt.Sprintf("peer %s at %s answers again", e.Peer, e.Addr)
	}
	return fmt.Sprintf("peer %s is gone", e.Peer)
}

// ReachEvent tells that an address of the node has been found to be within the
// reach of strangers, or out of it; or that the node has become a server or a
// client by itself, as Config.Mode allows.
type ReachEvent struct {
	Mode       Mode      // that it has now; ModeAuto: an address is meant
	Why        string    // in words, of a mode
	Addr       wire.Addr // empty: the address at which the asked peer sees the node
	IPv6       bool      // of Addr
	Reach, Was Reach
}

func (e ReachEvent) String() string {
	family := "IPv4"
	if e.IPv6 {
		family = "IPv6"
	}
	switch {
	case e.Mode != ModeAuto:
		return fmt.Sprintf("a %v now: %s", e.Mode, e.Why)
	case e.Addr == "":
		return fmt.Sprintf("reached from outside by %s, wherever others see it: %v", family, e.Reach)
	}
	return fmt.Sprintf("reached from outside at %s: %v", e.Addr, e.Reach)
}

func (n *Node) reachEvent(e ReachEvent) {
	if t := n.config.Trace; t != nil && t.Reach != nil {
		t.Reach(e)
	}
}

type traceKey struct{}

// WithTrace returns a context in which operations report to t, beside the
// node's own Config.Trace.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// tracers are the traces of one operation: at most the node's and the call's.
type tracers [2]*Trace

func (n *Node) tracers(ctx context.Context) tracers {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return tracers{n.config.Trace, t}
}

func (ts tracers) none() bool { return ts == tracers{} }

// emit calls the chosen func of each tracer that has it.
func emit[E any](ts tracers, pick func(*Trace) func(E), event E) {
	for _, t := range ts {
		if t == nil {
			continue
		}
		if f := pick(t); f != nil {
			f(event)
		}
	}
}
