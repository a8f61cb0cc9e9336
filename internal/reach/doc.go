// Package reach is what a node knows of itself: where it is, what NAT stands before it,
// and who gets in. It opens no socket, starts no goroutine and has no clock: a node
// tells it the time, what peers have said and who has come, asks those peers that it
// says are to be asked, and makes of its verdicts what others hear.
//
// # Where a node is
//
// A socket knows its own address and port, and no more. Beyond a NAT (RFC 4787) it is
// somewhere else, and only others see where: each network that is connected has one
// vote for each of our sockets (votes.go), and a place that two networks agree on is
// one of ours (place.go). What peers of different IPs see, also of one network, tells
// what the NAT does, in the terms of RFC 4787 §4.1: one outside port for all the world, or another for each destination
// (mapping.go). RFC 5780 §4.3 finds that out by a server with two addresses; here the
// peers are the many addresses.
//
// # Who gets in
//
// That others see us at a place does not say that they get in there: a filter
// (RFC 4787 §5) may be open only to those to whom we have sent something, for as long
// as that is not too long ago. So nobody to whom anything was sent in the last ten
// minutes can tell (contacted.go), and of those that are asked none can, just because
// they are asked. RFC 5780 §4.4 has the server answer from another address. Here the
// peer that is asked has a third one connect to us, of its own choosing, from a port
// that it has never used: DIAL_BACK. What comes of it counts differently, either way:
//
//   - Yes is seen, not heard. It takes a connection that came in, at an address that is
//     ours, from where nothing had been sent to. One is enough: nobody can lie about it.
//   - No is hearsay: the word of a peer that it could not. One may lie, and two may be
//     unlucky, so that it takes three, for whom peers of three networks were asked; and
//     any stranger who comes in afterwards refutes them all. Where there are but one or
//     two to ask, and the machine has no public address, their word makes a client of
//     the node for now (decision.go).
//
// The router's own word that it lets others in counts for nothing until some have come
// who could not otherwise: behind a carrier's NAT it is not true (verdict.go).
//
// To ask costs those who are asked packets to where they are told, so what each does for
// others is bounded (limits.go).
//
// # What follows
//
// A node that nobody reaches is a client: it stands in no routing table and has places
// at relays, where calls to it come in (decision.go, seen.go).
package reach
