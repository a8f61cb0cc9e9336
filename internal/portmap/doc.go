// Package portmap asks the router of a home network to let others in: to send what
// comes to a UDP port outside to a port of this machine.
//
// Three protocols do that, and routers speak one, several or none of them: PCP (RFC
// 6887), NAT-PMP (RFC 6886), and UPnP, by an Internet Gateway Device of version 1 or 2.
// A [Mapper] asks for all three at once, uses the first that works, renews the mapping
// at half its life, sees when the router has lost it or the machine has moved to another
// network, and takes it away at the end.
//
// What a router says is what it believes: behind a carrier's NAT the address outside is
// private again, and nobody reaches it. So a mapping is a hope, to be tried out by others.
//
// The first two send one packet and get one back, at port 5351 of the gateway:
//
//	NAT-PMP map:     version 0 | op 1 | 0 0 | inside port 2 | outside port 2 | seconds 4
//	         answer: version 0 | op 129 | result 2 | epoch 4 | inside port 2 | outside port 2 | seconds 4
//	PCP     map:     version 2 | op 1 | 0 0 | seconds 4 | our address 16 |
//	                 nonce 12 | 17 | 0 0 0 | inside port 2 | outside port 2 | outside address 16
//	         answer: version 2 | op 129 | 0 | result 1 | seconds 4 | epoch 4 | 0 (12) | as asked
//
// UPnP is a search by multicast (SSDP) for a description in XML, which names a service
// to be called by SOAP over HTTP. Everything here takes answers from the gateway alone,
// and fetches nothing from anywhere else, whatever they say.
//
// Limitations: no mapping of IPv6 (a firewall is opened from within by hole punching),
// and none where the machine's own IPv4 address is public.
package portmap
