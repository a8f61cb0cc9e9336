// Package natlab is a laboratory of NATs on one Linux machine, for tests that run real
// programs end to end: an internet with public hosts, and private hosts behind routers
// of chosen kinds.
//
//	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
//	boot := lab.Public("boot")
//	home := lab.NAT("home", natlab.PortRestricted)
//	alice := lab.Host("alice", home)
//	bob := lab.Home("bob", natlab.Symmetric) // with its own NAT
//	out, err := bob.Command(ctx, kad, "ping", boot.IP4().String()).CombinedOutput()
//	alice.Move(bob.NAT())
//	home.Reset()
//	lab.Part(home, boot)
//
// It consists of network namespaces, links between them with delay, loss, a rate and an MTU as
// the test needs, and nftables rules. Programs run in it unchanged. It is not connected to the
// machine's own network and never changes it, and any number of labs may exist at the same
// time. The namespaces have no names: only open files of the test's process hold them, so the
// kernel removes them when the test ends, panics or is killed. The programs that a test
// started die with it.
//
// It needs Linux, the packages iproute2 and nftables (and miniupnpd-nftables for
// Options.IGD), and root; without root, a user namespace does:
//
//	unshare -Urn go test ./internal/natlab
//
// Elsewhere its tests are skipped with a reason. For experiments run
//
//	go run ./internal/natlab/cmd/natlab -delay 20ms boot=public alice=linux bob=symmetric
//
// # Kinds of NAT
//
// The behaviour of each, as TestKinds measures it, in the terms of RFC 4787. An
// endpoint-independent mapping (EIM) gives an internal port the same external port for all
// destinations, an address- and port-dependent one (APDM) another for each. Filtering that is
// endpoint-independent (EIF), address-dependent (ADF), or address- and port-dependent (APDF)
// admits packets from all addresses, from addresses that the host has sent to, or from
// addresses and ports that it has sent to.
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
//	udp-blocked      blocked  -       -          networks that only pass TCP
//	ipv6-firewall    none     same    APDF       IPv6 only; admits replies
//
// linux-open accepts unsolicited packets to itself, so one that arrives before the host has sent
// takes the port that the host's mapping would have had.
//
// # What plain hole punching achieves
//
// Each side learns the address at which a server sees the other, sends there, and answers every
// packet that arrives; the row sends first. TestPunching measures it. A dot needs port
// prediction, many sockets, port mapping, IPv6 or a relay.
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
// Missing: NATs whose mapping depends on the address alone, NATs with several
// external addresses, NAT64, TCP's own quirks.
package natlab
