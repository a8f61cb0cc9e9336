// Package node is a Kademlia node over QUIC: it joins a network of peers, finds
// any peer or value by a 256-bit key, and opens authenticated streams to peers.
//
//	n, err := node.New(node.Config{Bootstrap: peers}) // starts nothing
//	err = n.Start(ctx)
//	stored, err := n.Put(ctx, routing.KeyOf("hello"), []byte("world"))
//	value, err := n.Get(ctx, routing.KeyOf("hello"))
//	err = n.Close()
//
// A peer is an Ed25519 public key ([wire.PeerID]); its place in the key space is
// the SHA3-256 of that key. Who is at the other end of a connection is what TLS
// proved, never what a message says.
//
// The package assembles the others: package routing decides whom to ask, wire
// what is said, quic carries it, peerstore remembers where peers are. What goes
// on in the background is a list of named tasks (tasks.go), and all of it ends
// before [Node.Close] returns.
package node
