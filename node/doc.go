// Package node is a Kademlia node over QUIC: it joins a network of peers, finds
// any peer or value by a 256-bit key, and opens authenticated streams to peers.
//
//	n, err := node.New(node.Config{Bootstrap: peers}) // starts nothing
//	err = n.Start(ctx)
//	stored, err := n.Put(ctx, routing.KeyOf("hello"), []byte("world"), nil)
//	value, err := n.Get(ctx, routing.KeyOf("hello"), nil)
//	err = n.Close()
//
// A peer is an Ed25519 public key ([wire.PeerID]); its place in the key space is
// the SHA3-256 of that key. TLS proves the identity of the peer at the other end of a
// connection; no message can claim one.
//
// The package assembles the others: package routing decides which peers to query, wire
// defines the messages, quic transports them, and peerstore keeps the addresses of peers.
// Background work is a list of named tasks (tasks.go), and all of it ends before
// [Node.Close] returns.
package node
