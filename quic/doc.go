// Package quic makes authenticated connections between public keys.
//
// A [Transport] owns one socket and both listens and dials on it. A connection
// is QUIC version 1 with TLS 1.3, in which each side shows one self-signed
// Ed25519 certificate: the dialler names the key it expects and the handshake
// fails if any other answers; the acceptor learns the caller's key. There are
// no names, no authorities and no session tickets, and only the two
// addresses can be read from the wire (the key is encrypted, and no SNI is
// sent).
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
// A peer behind a NAT is called through a relay: with Config.Relay a Transport
// makes virtual connections. Their packets go through the relay or, once an
// address is known to work, directly. A change of path does not disturb streams ([Transport.Virtual], [Transport.SetPath]; path.go begins with the
// design). Probes ([Transport.SendProbe], [Port]) are how such an address is found.
//
// Every other connection takes DATAGRAM frames (RFC 9221), in which a relay
// carries those packets: [Conn.SendDatagram] never waits, and drops a datagram when
// the queue is full.
//
// # Streams that are not read
//
// Each connection bounds the unread bytes of its peer: Config.WindowBudget counts
// that memory. All streams share it, so two streams that are full and not read (the
// connection's window is twice a new stream's) block every other stream in that
// direction. No window is reserved for some streams. With the same memory, 100
// streams would have a kilobyte each. quic-go enlarges a stream's window by itself,
// does not report how much is unread, and grants a stream more with each byte that
// is moved out of its way. To reset a stream that is read slowly would break the
// promise of a stream. A caller that must get through takes another connection:
// [Pool.Retire]. A pool has at most four to one peer, which also bounds the memory,
// at four times the windows of one.
//
// # Goroutines
//
// The package runs no goroutine per connection or stream, except one while
// datagrams wait to be sent. quic-go runs two per connection, and with
// Config.Relay there are four per Transport and one per Port.
// Everything that blocks takes a context or honours a deadline, and Close waits
// until all goroutines have ended.
//
// # Errors
//
// These match with [errors.Is]: [ErrClosed], [ErrTimeout], [ErrWrongKey],
// [ErrNetwork], [ErrRefused], [ErrBusy], [ErrUnreachable], [ErrWouldBlock] and
// [ErrForgotten]. These match with [errors.As]: *[CloseError], *[ResetError],
// *[ProtocolError] and *[KeyError].
//
// # Limitations
//
// Connection migration (RFC 9000 §9) is not used. An ordinary connection whose
// packets the network refuses to carry treats them as lost, and so outlives a
// change of network for as long as its idle timeout. A virtual one that changes its
// path keeps round-trip time and congestion window of the one before, until new
// measurements correct them. Datagrams that are not received take up to 190 kB on
// each connection.
package quic
