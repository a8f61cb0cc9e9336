// Package field holds the tests that need the world: real nodes, each a process of
// its own on a host of internal/natlab, behind real NATs, 80 ms from each other. There
// is nothing in it to import.
//
// The test binary is also the program that runs on the hosts (program_test.go): a node
// that takes orders and tells what happens, in lines of JSON, on top of nothing but
// package node's public API. A test builds a lab, starts peers in it, and gives orders.
//
//	go test ./internal/field                            # the short forms, under a minute
//	go test ./internal/field -run Matrix -v -field.all  # what "make matrix" prints
//
// Flags:
//
//	-field.all       all pairs of the matrix, and as many tries as the targets speak of
//	-field.pairs     only the pairs of the matrix that match a pattern: "linux calls"
//	-field.parallel  calls under way at a time; more is faster, and spoils the times
//	-field.strict    the targets in time are asserted too; without it they are printed
//	-field.trace     what the nodes log and trace is printed
//
// # Who connects to whom
//
// As TestMatrix measured it on two busy processors, all pairs, two dials at a time. The
// caller knows the callee's peer ID and nothing else; times count from then on, so they
// include looking up the peer and its relays. All 81 are connected, half of them within
// 265 ms (3.3 round trips), the slowest after 455. The call through the relay takes 178 ms
// of that. A ping, which also needs the peer's HELLO and its own round trip, is answered
// after 475 ms in the median and 1.2 s at worst. 78 have a path without a relay, half of
// them by 275 ms: + by half a second after the connection, s within seconds, r by relay.
// The row calls. Behind linux-open it takes a second call, of about a second, if somebody
// has come by unasked before.
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
// Fifty calls between a symmetric NAT and NATs that keep to a port, linux-open among
// them, half of them either way, had a path without a relay after 1.7 s in the median,
// the slowest after 4.9 s, on a machine that was busy with other things.
//
// Without root, and where natlab cannot run, the tests are skipped and say why.
package field
