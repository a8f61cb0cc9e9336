//go:build !linux && !darwin && !freebsd

package quic

import "net"

// wrapUDP: quic-go reads and writes single packets on these systems.
func wrapUDP(u *udp) net.PacketConn { return u }

// enlarge has nothing to add: there is no way beyond the system's limit.
func enlarge(*net.UDPConn, bool, int) {}
