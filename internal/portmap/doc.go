// Package portmap asks the home router for a port mapping: the router forwards an
// external UDP port to a port of this machine.
//
// Routers support none, one or several of three protocols: PCP (RFC 6887), NAT-PMP
// (RFC 6886) and UPnP IGD (Internet Gateway Device, version 1 or 2). A [Mapper] probes
// all three at once and uses the first that works. It renews the mapping at half its
// lifetime, detects that the router has lost it or that the machine has changed its
// network, and deletes the mapping at the end.
//
// A mapping does not prove reachability. Behind a carrier-grade NAT the external address
// is private as well, and peers cannot reach it. A dial-back has to confirm the mapping.
//
// PCP and NAT-PMP send one packet to port 5351 of the gateway and receive one:
//
//	NAT-PMP map:     version 0 | op 1 | 0 0 | inside port 2 | outside port 2 | seconds 4
//	         answer: version 0 | op 129 | result 2 | epoch 4 | inside port 2 | outside port 2 | seconds 4
//	PCP     map:     version 2 | op 1 | 0 0 | seconds 4 | our address 16 |
//	                 nonce 12 | 17 | 0 0 0 | inside port 2 | outside port 2 | outside address 16
//	         answer: version 2 | op 129 | 0 | result 1 | seconds 4 | epoch 4 | 0 (12) | as asked
//
// UPnP searches by multicast (SSDP) for an XML description, which names a service that
// is called by SOAP over HTTP. The package accepts answers from the gateway alone, and
// fetches URLs from the gateway alone, whatever an answer says.
//
// # Why this is written by hand
//
// Decided in December 2026 against github.com/huin/goupnp 1.3.1 and
// github.com/jackpal/go-nat-pmp 1.1.0:
//
//   - Lines. goupnp could replace the search, the HTTP exchange and the SOAP codec (319 of
//     1,456 lines), go-nat-pmp the NAT-PMP codec (about 60). The Mapper, PCP, route
//     changes, epochs and port conflicts would remain, with an adapter for each library.
//     The goupnp packages that would be linked have 11,600 generated lines.
//   - Modules. A program that uses node links 22 modules, of at most 25. goupnp adds 2
//     (with x/sync) and go-nat-pmp 1, which would leave none.
//   - Bounds. goupnp reads descriptions and SOAP answers of any size, follows redirects
//     and uses the system's HTTP proxy, and its discovery fetches the Location of every
//     device that answers, at any host: a device on the LAN can make the node send
//     requests elsewhere. This package reads 256 KiB at most, from the gateway only.
//     go-nat-pmp takes no context: its default of nine tries lasts 128 seconds.
//   - Missing. Neither library speaks PCP, nor checks the router's epoch (RFC 6887 §8.5,
//     RFC 6886 §3.6). goupnp does know IPv6 pinholes (WANIPv6FirewallControl), which this
//     package lacks; a need for them is the reason to decide again.
//
// # Limitations
//
// There is no mapping of IPv6: hole punching opens the firewall from the inside. There is
// none either where the machine's own IPv4 address is public.
package portmap
