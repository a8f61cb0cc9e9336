// Package natlab is a laboratory of NATs on one Linux machine, for tests that run real
// programs end to end: an internet with public hosts, and private hosts behind routers
// of chosen kinds.
//
//	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
//	boot := lab.Public("boot")
//	home := lab.NAT("home", natlab.PortRestricted)
//	alice := lab.Host("alice", home)
//	bob := lab.Home("bob", natlab.Symmetric) // with a NAT of its own
//	out, err := bob.Command(ctx, kad, "ping", boot.IP4().String()).CombinedOutput()
//	alice.Move(bob.NAT())
//	home.Reset()
//	lab.Part(home, boot)
//
// It is made of network namespaces, joined by links with delay, loss, a rate and an MTU
// where a test wants them, and of rules for nftables. Programs need not know of it.
// Nothing in it is connected to the machine's own network, which it never touches, and
// any number of labs may be up at once. The namespaces have no names: open files of the
// test's process hold them, so when the test ends, panics or is killed, the kernel takes
// all of it down. The programs that a test started die with it.
//
// It needs Linux, the packages iproute2 and nftables (and miniupnpd-nftables for
// Options.IGD), and root; without root, a user namespace does:
//
//	unshare -Urn go test ./internal/natlab
//
// Elsewhere its tests are skipped, and say why. A developer can play with
//
//	go run ./internal/natlab/cmd/natlab -delay 20ms boot=public alice=linux bob=symmetric
//
// # Kinds of NAT
//
// What each does, as TestKinds measures it. The terms are those of RFC 4787: an
// endpoint-independent mapping (EIM) gives an inside port one external port whoever it
// sends to, an address- and port-dependent one (APDM) another for each destination; and
// filtering that is endpoint-independent (EIF), address-dependent (ADF), or address-
// and port-dependent (APDF) lets packets in from anyone, from addresses that the inside
// has sent to, or from addresses and ports that it has.
//
//	kind             mapping  port    filtering  in the world
//	public           none     same    EIF        a server
//	full-cone        EIM      other   EIF        game mode, older routers, some carriers
//	addr-restricted  EIM      other   ADF        some home routers
//	port-restricted  EIM      other   APDF       the usual home router
//	linux            EIM      same    APDF       OpenWrt and other Linux routers
//	linux-open       EIM      same    APDF       Linux that masquerades for virtual machines
//	symmetric        APDM     random  APDF       offices, pf, many mobile networks
//	symmetric-seq    APDM     next    APDF       older symmetric NATs: predictable
//	carrier          EIM      other   APDF       linux behind a carrier's port-restricted
//	udp-blocked      blocked  -       -          networks that let only TCP out
//	ipv6-firewall    none     same    APDF       IPv6 only; what lets replies in
//
// linux-open accepts packets to itself that nobody asked for, so one that comes before
// the inside has sent spoils the mapping that the inside is about to have.
//
// # What plain hole punching achieves
//
// Each side learns how a server sees the other, sends there, and answers whoever gets
// through; the row sends first. TestPunching measures it. A dot is what port
// prediction, many sockets, port mapping, IPv6 or a relay are for.
//
//	                 public full addr port linux open symm seq carrier
//	public           +      +    +    +    +     +    +    +   +
//	full-cone        +      +    +    +    +     +    +    +   +
//	addr-restricted  +      +    +    +    +     +    +    +   +
//	port-restricted  +      +    +    +    +     .    .    .   +
//	linux            +      +    +    +    +     .    .    .   +
//	linux-open       +      +    +    +    +     .    .    .   +
//	symmetric        +      +    +    .    .     .    .    .   .
//	symmetric-seq    +      +    +    .    .     .    .    .   .
//	carrier          +      +    +    +    +     .    .    .   +
//
// Not there: NATs whose mapping depends on the address alone, NATs with several
// external addresses, NAT64, TCP's own quirks.
package natlab
