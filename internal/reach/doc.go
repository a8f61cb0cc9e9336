// Package reach knows where a node is, which NAT is in front of it, and whether strangers can
// connect to it. It opens no socket, starts no goroutine and has no clock: the node gives it
// the time, the reports of peers and the connections that arrive, asks the peers that it chooses,
// and announces its verdicts.
//
// # Where a node is
//
// A socket knows only its own address and port. Behind a NAT (RFC 4787) the node has another
// address, which only peers see. Each connected network has one vote for each socket
// (votes.go), and an address on which two networks agree is a candidate (candidate.go).
// The addresses that peers of different IPs see, in one network too, show how the NAT maps in
// the terms of RFC 4787 §4.1: one external port for all destinations, or another one for each
// (mapping.go). RFC 5780 §4.3 finds that out by a server with two addresses; here several
// peers take its place.
//
// # Whether strangers can connect
//
// An address that peers see need not be reachable: a filter (RFC 4787 §5) may admit only
// peers to which the node has sent packets lately. So a peer to which the node has sent
// anything in the last ten minutes proves nothing (contacted.go), and neither does a peer that
// it asks, because asking sends packets. RFC 5780 §4.4 lets the server answer from another
// address. Here the asked peer chooses a third peer, which connects to the node from a port
// that it has never used: DIAL_BACK. The two outcomes count differently:
//
//   - Yes is observed: a connection arrived at one of the node's addresses from an address to
//     which nothing had been sent. One is enough, because no peer can forge it.
//   - No is a report: a peer says that it could not connect. One may lie, and two may be
//     unlucky, so three are needed, obtained through peers of three networks; and any stranger
//     that connects later refutes them all. Where only one or two peers can be asked,
//     and the machine has no public address, their word makes the node a client for now
//     (decision.go).
//
// A router's claim that it forwards a port counts only after peers have connected that could
// not otherwise: behind a carrier's NAT it is wrong (verdict.go).
//
// A dial-back costs the peers that make it packets to an address that the asker names, so the
// work that one node does for others is bounded (limits.go).
//
// # What follows
//
// A node that strangers cannot reach is a client: it is in no routing table, and has
// reservations at relays, through which it is called (decision.go, seen.go).
package reach
