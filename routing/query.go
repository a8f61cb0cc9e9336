package routing

import "time"

// DefaultAlpha is the paper's α: how many requests a lookup awaits at a time.
const DefaultAlpha = 3

// Query is one request of a lookup to one contact.
type Query[A any] struct {
	Contact[A]
	Store bool // send STORE; otherwise FIND_NODE, or FIND_VALUE
	Hop   int  // 1 for a seed, 2 for the contacts that a seed names, and so on
	// Bound, of a STORE, is the farthest of the k nearest not failed that the
	// lookup has heard of: its answer need name only nearer contacts. Zero
	// while fewer than k are known, and once any query has gone unanswered:
	// where some are dead, the live ones behind them must be named, too.
	Bound Key
}

// Reply is the answer to a Query.
type Reply[A any] struct {
	// Closer are the contacts the answer names, nearest to the target first.
	// Those beyond the first K are not looked at.
	Closer []Contact[A]
	// Value says that a value came with the answer (find-value only).
	Value bool
}

// LookupOptions are the parameters of a Lookup. The zero value is the paper's
// node lookup.
type LookupOptions[A any] struct {
	// K is how many of the nearest nodes must have answered.
	// If not positive, DefaultK. At most 65,536.
	K int
	// Alpha is the most queries awaited at any time during the walk
	// (Kademlia §2.3). If not positive, DefaultAlpha.
	Alpha int
	// Self is the node that looks. It is never queried, even when a peer names it.
	Self Contact[A]
	// CountSelf says that Self is a server and stands among the k nearest,
	// where its key belongs, as one that has answered and has stored.
	CountSelf bool
	// Store, if positive, makes this a put that stores while it looks: once
	// that many nearest nodes not failed have answered (3 is a good number),
	// STORE goes to the k nearest heard of, all at once. A STORE's answer names
	// closer contacts as FIND_NODE's does, and one that fails is replaced by
	// the next nearest, until the k nearest not failed have stored.
	Store int
	// Quorum, if positive, makes this a find-value: the lookup ends as soon as
	// that many replies had a value. In a put it is how many nodes, Self among
	// them where it counts, must have stored before Patience takes effect.
	Quorum int
	// Witnesses is how many of those nearest to, but outside, the subtree of
	// the k nearest must have answered as well, if more than an eighth of k
	// failed among them. It finds live nodes that every answer omits in
	// favour of dead ones. With 20 % of all entries dead and never repaired,
	// 94 of 100 are found without, 95 with 1 for 4 % more requests, 99 with 4
	// for 20 % more. In a healthy network none is asked. If zero, 1. If
	// negative, none, as in the paper. A put that stores while it looks has
	// none.
	Witnesses int
	// Timeout is how long to wait for one query: a soft deadline, after which
	// its place is free and another is asked in its stead, though its answer
	// still counts. If nil, or where it returns 0 or less, there is none.
	Timeout func(Query[A]) time.Duration
	// Patient makes the lookup end only when all of the k nearest that are past
	// their deadline have been heard of, by Answer or Fail. Otherwise only
	// those are awaited whose place no other could fill.
	Patient bool
	// Patience is for how long beyond its deadline a query is awaited in these
	// two cases. Then the lookup ends without it, provided that another node has
	// answered: until then it waits on, because the fault may be its own. If nil, or where it returns 0 or less, Answer or Fail alone ends the
	// wait.
	Patience func(Query[A]) time.Duration
}

// LookupStats count what a lookup did so far.
type LookupStats struct {
	Queries  int // sent, of either kind
	Stores   int // of these, STOREs
	Answers  int // late ones too
	Failures int // reported by Fail
	Overdue  int // past their deadline, whatever came after
	// Hops is how many queries led, one naming the next, to the nearest node
	// that answered, or in a find-value to the first that had the value.
	Hops int
}
