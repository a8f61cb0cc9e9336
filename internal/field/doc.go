// Package field holds end-to-end tests of real nodes: each is a separate process on a host of
// internal/natlab, behind a real NAT, with a round trip of 80 ms to every other. The package
// exports nothing.
//
// The test binary is also the program that runs on the hosts (program_test.go): a node
// that takes orders and reports events, in lines of JSON. It uses only the public API of
// package node. A test builds a lab, starts peers in it, and gives orders.
//
//	go test ./internal/field                            # the short forms, under a minute
//	go test ./internal/field -run Matrix -v -field.all  # the output of "make matrix"
//
// Flags:
//
//	-field.all       all pairs of the matrix, and as many tries as the targets require
//	-field.pairs     only the pairs of the matrix that match a pattern: "linux calls"
//	-field.parallel  calls in progress at a time; more is faster, and distorts the times
//	-field.strict    assert the time targets too; without it they are printed
//	-field.trace     print the logs and traces of the nodes
//
// # Which pairs connect
//
// TestMatrix measured all pairs on two busy processors, two dials at a time. The caller
// knows only the callee's peer ID, so times include the lookup of the peer and its relays. All 81 are connected, half of them within
// 265 ms (3.3 round trips), the slowest after 455. The call through the relay takes 178 ms
// of that. A ping, which also needs the peer's HELLO and its own round trip, is answered
// after 475 ms in the median and 1.2 s at worst. 78 have a path without a relay, half of
// them by 275 ms: + by half a second after the connection, s within seconds, r by relay.
// The row calls. Behind linux-open it takes a second call, of about a second, if an
// unsolicited packet arrived before.
//
//	                 public full addr port linux open symm seq carrier
//	public           +      +    +    +    +     +    +    +   +
//	full-cone        +      +    +    +    +     +    +    +   +
//	addr-restricted  +      +    +    +    +     +    +    +   +
//	port-restricted  +      +    +    +    +     s    s    +   +
//	linux            +      +    +    +    +     s    s    +   +
//	linux-open       +      +    +    +    +     s    s    +   +
//	symmetric        +      +    +    s    s     s    r    r   s
//	symmetric-seq    +      +    +    +    +     s    r    +   +
//	carrier          +      +    +    +    +     s    s    +   +
//
// Fifty calls between a symmetric NAT and NATs that keep a port, including linux-open, half
// in each direction, had a path without a relay after 1.7 s in the median,
// the slowest after 4.9 s, on a machine with other load.
//
// Without root, and where natlab cannot run, the tests are skipped with the reason.
package field
