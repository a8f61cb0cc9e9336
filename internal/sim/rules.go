package sim

import "time"

// Rules are what a node does for the records it holds, and how often. The zero
// value is what package node does.
type Rules struct {
	// Republish is how long after it was last received a holder brings a record to
	// the k nearest again (Kademlia §2.5), and up to a quarter more. If zero, an
	// hour. If negative, never.
	Republish time.Duration

	// Early is how long before its time a record goes along when another is due: the
	// more go together, the fewer requests they take. If zero, a quarter of
	// Republish. If negative, not at all.
	Early time.Duration

	// Ranks is how many of a key's holders, nearest first, hand it over to a
	// newcomer among the k nearest; the paper's is 1 (Kademlia §2.5). If zero, 8. If
	// negative, none does.
	Ranks int

	// Debounce is how long newcomers are gathered before a hand-over, give or take
	// half of it: if all ranks came at once, all would send what is missing.
	// If zero, 3 seconds.
	Debounce time.Duration

	// Silence is how long a neighbour, one of the complete subtree, may have been
	// silent so that a hand-over may be left to it without a ping. If zero, 2
	// minutes. If negative, for ever.
	Silence time.Duration
}

// Paper are the rules of Kademlia §2.5 and nothing else.
var Paper = Rules{Early: -1, Ranks: 1, Silence: -1}

func (r Rules) withDefaults() Rules {
	defaultTo(&r.Republish, time.Hour)
	defaultTo(&r.Early, r.Republish/4)
	defaultTo(&r.Ranks, 8)
	defaultTo(&r.Debounce, 3*time.Second)
	defaultTo(&r.Silence, 2*time.Minute)
	return r
}

func defaultTo[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}
