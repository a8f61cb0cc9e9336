package punch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// The first byte of each kind of probe.
const (
	kindOpen = 0x20 + iota
	kindPing
	kindPong
	kindBindingRequest
	kindBindingResponse
)

const (
	// Size is the length of OPEN, PING and PONG.
	Size     = idEnd + 8 + tagSize
	idEnd    = 1 + 8
	nonceEnd = idEnd + 8
	tagSize  = 16

	bindingSize = 1 + 8 + 16 + 2
)

// An ID identifies a call, and a direction, in probes.
type ID [8]byte

// A direction is the ID and the key of the probes from one peer to the other.
type direction struct {
	id  ID
	key [32]byte
}

func (d *direction) append(b []byte, kind byte, nonce uint64) []byte {
	start := len(b)
	b = append(b, kind)
	b = append(b, d.id[:]...)
	b = binary.BigEndian.AppendUint64(b, nonce)
	tag := d.tag(b[start:])
	return append(b, tag[:tagSize]...)
}

func (d *direction) tag(b []byte) [sha256.Size]byte {
	var sum [sha256.Size]byte
	h := hmac.New(sha256.New, d.key[:])
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// open parses a probe if its tag is right.
func (d *direction) open(b []byte) (kind byte, nonce uint64, ok bool) {
	if len(b) != Size || ID(b[1:idEnd]) != d.id {
		return 0, 0, false
	}
	tag := d.tag(b[:nonceEnd])
	if !hmac.Equal(tag[:tagSize], b[nonceEnd:]) {
		return 0, 0, false
	}
	return b[0], binary.BigEndian.Uint64(b[idEnd:]), true
}

// ParseID returns the ID of a probe. It does not verify the sender.
func ParseID(b []byte) (ID, bool) {
	if len(b) != Size || b[0] < kindOpen || b[0] > kindPong {
		return ID{}, false
	}
	return ID(b[1:idEnd]), true
}

// AppendBindingRequest appends a binding request. The nonce is its transaction ID.
func AppendBindingRequest(b []byte, nonce uint64) []byte {
	b = append(b, kindBindingRequest)
	b = binary.BigEndian.AppendUint64(b, nonce)
	return append(b, make([]byte, bindingSize-idEnd)...)
}

// AnswerBindingRequest returns the binding response to a packet, if that is a request.
func AnswerBindingRequest(b []byte, from netip.AddrPort) ([]byte, bool) {
	if len(b) != bindingSize || b[0] != kindBindingRequest || !from.IsValid() {
		return nil, false
	}
	a := append([]byte{kindBindingResponse}, b[1:idEnd]...)
	ip := from.Addr().As16()
	a = append(a, ip[:]...)
	return binary.BigEndian.AppendUint16(a, from.Port()), true
}

// ParseBindingResponse parses a binding response. It returns the nonce of the request.
func ParseBindingResponse(b []byte) (nonce uint64, at netip.AddrPort, ok bool) {
	if len(b) != bindingSize || b[0] != kindBindingResponse {
		return 0, netip.AddrPort{}, false
	}
	ip := netip.AddrFrom16([16]byte(b[idEnd:])).Unmap()
	at = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[bindingSize-2:]))
	if at.Port() == 0 || ip.IsUnspecified() {
		return 0, netip.AddrPort{}, false
	}
	return binary.BigEndian.Uint64(b[1:]), at, true
}

// packetCost returns the size of a packet with so many bytes of payload, IP and UDP headers
// included.
func packetCost(to netip.AddrPort, payload int) int {
	if to.Addr().Unmap().Is4() {
		return payload + 20 + 8
	}
	return payload + 40 + 8
}
