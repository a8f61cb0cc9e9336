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
// # Paths and datagrams
//
// A peer behind a NAT is called through somebody else: with Config.Relay a
// Transport makes virtual connections, whose packets go by relay or, once an
// address is known to work, straight, and change over at any time without a stream
// that notices ([Transport.Virtual], [Transport.SetPath]; path.go begins with the
// design). Probes ([Transport.SendProbe], [Port]) are how such an address is found.
//
// Every other connection takes DATAGRAM frames (RFC 9221), in which a relay
// carries those packets: [Conn.SendDatagram] never waits, what finds no room is
// lost.
//
// # Streams that nobody reads
//
// What a peer may send before it is read is bounded by connection: that is the
// memory that Config.WindowBudget counts. All streams share it, so two of them that
// are full and not read (the window is twice a fresh stream's) stop every other, in
// that direction. Nothing is kept free for some: windows of 100 streams that fit
// into one of a connection that costs no more would be of a kilobyte each; quic-go
// lets a stream's window grow unasked, tells nobody how much is unread, and grants a
// stream more with each byte that is moved out of its way; and to reset a stream
// that is read slowly would be to break what it promises. Who must get through takes
// another connection: [Pool.Retire]. It has four to one peer at most, which also
// bounds the memory, at four times the windows of one.
//
// # Goroutines
//
// The package runs no goroutine per connection or stream of its own, but one
// while datagrams wait to be sent; what remains are those of quic-go (two per
// connection), and with Config.Relay four per Transport and one per Port.
// Everything that blocks takes a context or honours a deadline, and Close waits
// until all is gone.
//
// # Limitations
//
// Connection migration (RFC 9000 §9) is not used. An ordinary connection whose
// packets the network refuses to carry treats them as lost, and so outlives a
// change of network for as long as its idle timeout. A virtual one that changes its
// path keeps round-trip time and congestion window of the one before, until new
// measurements correct them. Datagrams that nobody receives take up to 190 kB on
// each connection.
package quic
