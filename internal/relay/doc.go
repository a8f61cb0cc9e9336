// Package relay carries packets between peers of which one cannot be reached:
// who may be relayed to (reservations), for whom (flows, made by calls), how much
// (limits), and the form in which packets travel. It opens no socket, starts no
// goroutine and reads no clock: time is an argument, and what is to be sent goes
// to the [Link] of the peer.
//
// A packet travels in a QUIC DATAGRAM frame (RFC 9221) of the connection between
// the relay and each of the two peers, behind a header. What it holds is for the
// two to know: a relay sees a UDP payload of their own QUIC connection.
//
//	offset  bytes
//	0       1    kind, and 128 more on the way from the relay
//	1       32   peer: to the relay whom it is for, from the relay whom it is from
//	33      2    number, big-endian; of parts only
//	33, 35  …    content
//
//	kind
//	0       a packet
//	1, 2    the first, the second part of a packet, by the sender
//	3       fuel: it only pays for packets sent to places that are not proven
//	4, 5    as 1 and 2, but cut and numbered by the relay
//
// Packets have to be cut because a QUIC packet of 1200 bytes, the least that
// QUIC allows, does not fit a DATAGRAM of another QUIC packet of that size.
//
// wire/SPEC.md §5 is the specification.
package relay
