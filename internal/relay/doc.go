// Package relay forwards packets between two peers of which at least one is unreachable. It
// holds reservations (which peers are relayed to), flows (between which pairs, made by
// calls), limits, and the format of relayed packets. It opens no socket, starts no
// goroutine and reads no clock: time is an argument, and datagrams leave through the
// [Link] of a peer.
//
// A packet travels in a QUIC DATAGRAM frame (RFC 9221) on the connections between the relay
// and each of the two peers, after a header. The relay cannot read it: its content is a UDP
// payload of the peers' own, encrypted QUIC connection.
//
//	offset  bytes
//	0       1    kind, and 128 more on the way from the relay
//	1       32   peer: the recipient on the way to the relay, the sender on the way from it
//	33      2    number, big-endian; of parts only
//	33, 35  …    content
//
//	kind
//	0       a packet
//	1, 2    the first, the second part of a packet, by the sender
//	3       credit: pays for packets that the recipient sends to unproven addresses
//	4, 5    as 1 and 2, but cut and numbered by the relay
//
// Packets are cut because a QUIC packet of 1200 bytes, the smallest maximum that QUIC
// allows, does not fit a DATAGRAM frame in another packet of that size.
//
// wire/SPEC.md §5 is the specification.
package relay
