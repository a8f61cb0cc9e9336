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
//
// # Errors
//
// Every error can be inspected with errors.Is and errors.As, across all packages. These are the
// ones to branch on:
//
//	ErrNotFound         no peer that answered has the record
//	ErrQuorum           fewer peers than asked stored the record (a *PutError)
//	ErrConflict         a compare-and-set found another version (a *ConflictError)
//	ErrRefused          the rules of the record's namespace do not allow it
//	ErrUnreachable      no peer answered (also a *BootstrapError, a *PutError)
//	ErrWrongPeer        another key answered at the address (quic.ErrWrongKey)
//	ErrWrongNetwork     the peer belongs to another network (quic.ErrNetwork)
//	ErrBusy             the peer takes no more connections or requests (quic.ErrBusy)
//	ErrNoProtocol       the peer does not speak the protocol of the stream
//	ErrNotStarted       Start has not been called
//	ErrClosed           the node is closed
//	ErrNoData           Config.Data is empty, so nothing is kept on disk
//	*RemoteError        the peer answered with a wire.Code, which errors.Is matches
//
// Package wire: ErrMalformed, ErrTooLarge and ErrStreamHeader of bytes that break the
// protocol; ErrPeerID, ErrAddr and ErrCandidateOffer of text and bytes that are no such thing;
// ErrRecord, ErrBadKind, ErrBadKey, ErrBadSignature, ErrExpired and ErrTooFarAhead of records.
// Package quic: ErrClosed, ErrTimeout, ErrWrongKey, ErrNetwork, ErrRefused, ErrBusy, ErrUnreachable,
// ErrWouldBlock and ErrForgotten of connections. Package peerstore: ErrSnapshot. Package routing has none.
package node
