// Package punch finds a direct path between two peers behind NATs, once both know of each
// other through a relay: the connectivity checks of ICE (RFC 8445). It decides which probes
// go to which candidates, when and how many, and when a path is valid. It opens no socket,
// starts no goroutine and has neither clock nor randomness: a [Checklist] is told the time
// and each received probe, and says what to send and when to call it again.
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
// Each peer draws an X25519 key for the call and sends it through the relay, signed. The
// relay does not know the shared secret. From it, HKDF derives an id and a key for each
// direction ([Keys]), so that an observer can link the packets neither to the call nor to
// other calls. PONG repeats the nonce of the PING that it answers. The caller sends OPEN
// before it has the callee's key: the id and key of OPEN follow from the caller's public key,
// which the relay knows. OPEN opens the caller's NAT and is answered by PONG; it has no other
// effect.
//
//	0       1                 9                                 25     27
//	+-------+-----------------+---------------------------------+------+
//	| kind  | nonce           | address, IPv4 mapped into IPv6  | port |
//	+-------+-----------------+---------------------------------+------+
//
// A binding request (WHO in SPEC.md) asks any node for the address from which it receives
// the request; in the request, address and port are zero. The binding response (SEEN) has
// the same length. From an unused socket, it tells which port a NAT with sequential ports
// assigns next.
//
// # Amplification
//
// A PONG validates an address if it comes from there with the nonce of a PING that went
// there. Until then the address costs credit: each byte sent there, IP and UDP headers
// included, must have been paid for by a byte from the peer: in the call, which is padded for
// that, in packets through the relay that only add credit, or in the peer's probes. So no
// peer makes another send more to a third host than it sent itself.
//
// # The course of a call
//
// A is the caller, B the callee, R the relay between them, RTT the round trip of any two:
//
//	0 RTT    A: CALL to R
//	1 RTT    B: has CALL, pings A's candidates from now on; CALLED to R
//	         A: sends OPEN to the candidates of B that it knew, if any
//	1½ RTT   each has the other's first probes; A buffers B's, as it has no key yet.
//	         B: PONG
//	2 RTT    A: has CALLED and that PONG: validated. Answers the buffered probes.
//	2½ RTT   B: validated
//
// The packets of A and B cross between their NATs, so that none reaches a NAT before a packet
// from inside has left it: an inbound packet that arrives first makes some Linux NATs pick
// another port.
package punch
