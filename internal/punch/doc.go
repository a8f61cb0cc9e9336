// Package punch is the making of a direct path between two peers behind NATs, once
// both know of one another through a relay: the probes, which addresses they go to
// and when, how many, and when a path is good. It opens no socket, starts no
// goroutine, has no clock and no randomness of its own: a [Session] is told the time
// and what came, and says what to send and when to be asked again.
//
// # Probes
//
// A probe is a UDP packet whose first byte no QUIC packet has. OPEN, PING and PONG
// have 33 bytes:
//
//	0       1                 9               17                            33
//	+-------+-----------------+---------------+-----------------------------+
//	| kind  | id of the call  | nonce         | HMAC-SHA256, 16 bytes of it |
//	+-------+-----------------+---------------+-----------------------------+
//
// Both peers draw an X25519 key for the call and tell it through the relay, signed.
// From the secret that follows, and that the relay does not know, HKDF makes an id
// and a key for each direction ([Keys]), so that who sees the packets can link them
// neither to the call nor to another. PONG repeats the nonce of the PING that it
// answers. OPEN is the caller's, before it has the callee's key: its id and key follow
// from the caller's public key, which the relay knows. It is answered with PONG, and
// opens the caller's NAT; nothing more follows from it.
//
//	0       1                 9                                 25     27
//	+-------+-----------------+---------------------------------+------+
//	| kind  | nonce           | address, IPv4 mapped into IPv6  | port |
//	+-------+-----------------+---------------------------------+------+
//
// WHO asks anybody where it is seen to come from, its address and port zero, and SEEN
// says so. It is as long as the question. From a socket that has sent nothing before,
// that tells which port a NAT with sequential ports gives next.
//
// # What nobody can do
//
// An address is validated when a PONG comes from there with the nonce of a PING that
// went there. Until then it costs credit: each byte that goes there, IP and UDP
// headers counted, must have been paid for by a byte that came from the peer, by the
// call (which is padded for that), as fuel through the relay, or in its probes. So no
// peer makes another send more to a stranger than it sent itself.
//
// # The course of a call
//
// A calls, B is called, R is the relay in between, RTT the round trip of any two:
//
//	0 RTT    A: CALL to R
//	1 RTT    B: has CALL, pings A's candidates from now on; CALLED to R
//	         A: opens towards the candidates of B that it knew, if it did
//	1½ RTT   both have the other's first probes; A keeps B's, it has no key yet.
//	         B: PONG
//	2 RTT    A: has CALLED and that PONG: validated. Answers what it kept.
//	2½ RTT   B: validated
//
// The packets of A and B cross between their NATs, so none reaches a NAT before the
// inside has sent: some Linux NATs have then no use for the port any more.
package punch
