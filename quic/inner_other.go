//go:build !linux && !darwin && !freebsd

package quic

import "net"

// socket: quic-go writes single packets on these systems.
func (s *inner) socket() net.PacketConn { return s }

func mark(oob []byte, _ *net.UDPAddr) []byte { return oob }
