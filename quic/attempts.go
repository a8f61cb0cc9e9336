package quic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// attempts are the dials in progress to one address. They are registered so that an
// ICMP error ends a dial to an unreachable address at once: quic-go treats the error
// as a lost packet, and the caller would wait five seconds for a closed port.
type attempts struct {
	cancels map[int]context.CancelCauseFunc
	next    int

	// sent are the connection IDs, chosen by chance, in the last few handshake
	// packets to the address: who can quote one has seen the packet.
	sent [][]byte
}

const maxSent = 8

// begin enters a dial that cancel can end, until end.
func (t *Transport) begin(addr netip.AddrPort, cancel context.CancelCauseFunc) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.dialing[addr]
	if a == nil {
		a = &attempts{cancels: map[int]context.CancelCauseFunc{}}
		t.dialing[addr] = a
	}
	a.next++
	id := a.next
	a.cancels[id] = cancel
	t.dials.Add(1)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.dials.Add(-1)
		if delete(a.cancels, id); len(a.cancels) == 0 {
			delete(t.dialing, addr)
		}
	}
}

func (a *attempts) fail(err error) {
	for _, cancel := range a.cancels {
		cancel(fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
}

func (t *Transport) sendFailed(to netip.AddrPort, err error) {
	if t.dials.Load() == 0 || !noWay(err) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.dialing[to]; a != nil {
		a.fail(err)
	}
}

func (t *Transport) handshakeSent(to netip.AddrPort, packet []byte) {
	if t.dials.Load() == 0 {
		return
	}
	id := destination(packet)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.dialing[to]
	if a == nil || len(id) < 8 || slices.ContainsFunc(a.sent, func(o []byte) bool { return bytes.Equal(o, id) }) {
		return
	}
	if len(a.sent) == maxSent {
		a.sent = a.sent[1:]
	}
	a.sent = append(a.sent, bytes.Clone(id))
}

func (t *Transport) bounced(to netip.AddrPort, quote []byte, err error) {
	id := destination(quote)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.dialing[to]
	if a != nil && slices.ContainsFunc(a.sent, func(o []byte) bool { return bytes.Equal(o, id) }) {
		a.fail(err)
	}
}

// destination returns the connection ID to which a packet with a long header is
// sent (RFC 9000 §17.2: flags, version, length, ID), nil if it is none.
func destination(packet []byte) []byte {
	const head = 1 + 4 + 1
	if len(packet) < head || packet[0]&0x80 == 0 {
		return nil
	}
	if n := int(packet[head-1]); len(packet) >= head+n {
		return packet[head : head+n]
	}
	return nil
}

// noWay tells whether an error of a send means that the address is out of reach
// from here, and not that the packet had bad luck.
func noWay(err error) bool {
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return true // IPv6 on a socket of IPv4
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(unreachable, errno)
}
