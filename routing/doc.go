// Package routing is Kademlia as arithmetic: keys and their distances, the
// table of contacts that a node keeps, and the iterative lookup. It does no
// I/O. You bring the transport: UDP, QUIC, HTTP, a radio, a map in a test.
//
// A node has a [Key], 256 bits, and keeps a [Table] of the contacts it hears
// from:
//
//	table := routing.NewTable[Addr](self, routing.TableOptions[Addr]{})
//	table.Seen(routing.Contact[Addr]{Key: key, Addr: addr}, time.Now())
//
// It answers a request for a target with the nearest contacts that it knows:
//
//	table.AppendNearest(nil, target, 20)
//
// And it finds the nearest nodes there are by asking in turn. You write ask,
// which sends a request to one node and returns the contacts it names:
//
//	l := routing.NewLookup(target, table.Nearest(target), routing.LookupOptions[Addr]{Self: me})
//	err := l.Run(ctx, ask)
//	for c := range l.Closest() { … }
//
// That is a node lookup. The same [Lookup] finds values (Quorum) and stores
// them while it walks (Store). The example below is the whole of it; the
// program in examples/routing does it over UDP.
//
// # The parts
//
// The Table is the paper's routing tree in the form of a vector of k-buckets,
// of which only the last, which holds the own key, splits. Full buckets keep
// newcomers in a replacement cache. The oldest contact is pinged only when it
// has been silent for ten minutes, and gives way only if it does not answer.
// Contacts that fail and have no replacement are marked, not dropped. Around
// the own key the table is complete, so that a node that stores values knows
// when a newcomer should have them. Groups bound what one subnet can hold.
//
// The Lookup awaits no more than α queries at a time and ends when the k
// nearest nodes that live have answered. It is a state machine: where Run does
// not suit you, call Next, Answer, Fail, Wake and Done from a loop of your own.
//
// [RTT] says how long to wait for an answer, [Size] how large the network is.
//
// # What it leaves to you
//
// There is no clock here (now is an argument), no randomness (a rand.Source
// is), no lock and, except in Run, no goroutine. So all of it can be simulated:
// the package's own tests look things up in a network of ten thousand nodes.
//
//   - Call Seen only for peers whose key you have verified, and that others can
//     reach. To the table every key is as good as any other.
//   - Ping what Seen and Suspects offer, and report Seen or Failed.
//   - Look up what Stale yields, every few minutes, and tell Looked.
//   - Lock the table if goroutines share it. A Lookup belongs to one goroutine.
//
// # Sources
//
// Section numbers refer to Maymounkov and Mazières, "Kademlia: A
// Peer-to-peer Information System Based on the XOR Metric", IPTPS 2002. The
// tests in paper_test.go go through it rule by rule.
//
// Where it differs: keys have 256 bits; a ping needs ten minutes' silence
// (§2.2 would send one per message of a stranger, and the replacement cache
// alone, §4.1, leaves twice as many dead entries); a put sends its STOREs while
// it still looks, which saves a third of the requests; and where several of the
// nearest nodes turn out dead, one witness from farther away is asked.
//
// # Limits
//
// A lookup follows one path: a single liar on it can lead it astray. Several
// disjoint paths are to come. There is no acceleration by larger digits (§4.2):
// b is 1.
//
// The package has no sentinel errors: [ParseKey] reports malformed text, and Run
// returns the error of its context.
package routing
