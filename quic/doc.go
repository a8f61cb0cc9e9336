// Package quic makes authenticated connections between public keys.
//
// A [Transport] owns one socket and both listens and dials on it. A connection
// is QUIC version 1 with TLS 1.3, in which each side shows one self-signed
// Ed25519 certificate: the dialler names the key it expects and the handshake
// fails if any other answers; the acceptor learns the caller's key. There are
// no names, no authorities and no session tickets, and nothing but the two
// addresses can be read from the wire (the key travels encrypted, and no SNI
// is sent).
//
//	t, err := quic.NewTransport(quic.Config{Key: key, ALPN: "chat/1", Conn: socket})
//	c, err := t.Dial(ctx, addr, peer)   // or t.Accept(ctx)
//	s, err := c.OpenStream(ctx)         // a net.Conn
//
// A [Pool] keeps at most one connection to give per peer: callers that want the
// same peer share one dial, two peers that dial one another at once end with one
// connection, idle connections are closed and a full pool closes the one unused
// for longest.
//
// # Goroutines
//
// The package runs no goroutine per connection or stream of its own; what
// remains are those of quic-go (two per connection). Everything that blocks
// takes a context or honours a deadline, and Close waits until all is gone.
//
// # Limitations
//
// Connection migration is not used yet. A datagram that the network refuses to
// carry is treated as lost, so a connection outlives a change of network for as
// long as its idle timeout.
package quic
