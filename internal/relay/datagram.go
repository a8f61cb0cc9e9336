package relay

import (
	"encoding/binary"

	"github.com/kadquic/kadquic/wire"
)

// A Kind is the first byte of a datagram.
type Kind uint8

const (
	Whole     Kind = 0 // a whole packet
	First     Kind = 1 // the first part of a packet
	Second    Kind = 2
	Credit    Kind = 3 // no packet: its size is credit for the recipient
	FirstCut  Kind = 4 // as First, but cut by the relay
	SecondCut Kind = 5

	// fromRelay is added to the kind on the way from the relay.
	fromRelay = 0x80
)

const (
	// HeaderLen is the length of the header of a whole packet.
	HeaderLen = 1 + len(wire.PeerID{})
	// partLen is the length of the header of a part.
	partLen = HeaderLen + 2
	// MaxPacket is the longest packet that is relayed.
	MaxPacket = 1500
)

// isPart reports whether the kind is a part, which has a number.
func (k Kind) isPart() bool {
	return k == First || k == Second || k == FirstCut || k == SecondCut
}

// A Datagram is a parsed datagram. Content shares memory with the bytes that were parsed.
type Datagram struct {
	Kind    Kind
	From    bool        // the datagram comes from the relay, and Peer is the sender
	Peer    wire.PeerID // otherwise the recipient
	Number  uint16      // of a part
	Content []byte
}

// Parse parses a datagram. It returns false if the length is invalid. Unknown kinds are valid.
func Parse(b []byte) (Datagram, bool) {
	if len(b) < HeaderLen || len(b) > HeaderLen+MaxPacket {
		return Datagram{}, false
	}
	d := Datagram{Kind: Kind(b[0] &^ fromRelay), From: b[0]&fromRelay != 0, Peer: wire.PeerID(b[1:HeaderLen]), Content: b[HeaderLen:]}
	if d.Kind.isPart() {
		if len(b) < partLen {
			return Datagram{}, false
		}
		d.Number, d.Content = binary.BigEndian.Uint16(b[HeaderLen:]), b[partLen:]
	}
	return d, true
}

// Append appends the datagram's bytes.
func (d Datagram) Append(b []byte) []byte {
	kind := byte(d.Kind)
	if d.From {
		kind |= fromRelay
	}
	b = append(append(b, kind), d.Peer[:]...)
	if d.Kind.isPart() {
		b = binary.BigEndian.AppendUint16(b, d.Number)
	}
	return append(b, d.Content...)
}

// Send sends a packet for a peer over a link to the relay, whole if it fits, otherwise in two
// parts with that number. It reports whether the link accepted all of it.
func Send(l Link, peer wire.PeerID, packet []byte, number uint16) bool {
	return send(l, Datagram{Kind: First, Peer: peer, Number: number, Content: packet})
}

// send is Send with a datagram whose kind is First or FirstCut.
func send(l Link, d Datagram) bool {
	packet, max := d.Content, l.MaxDatagram()
	var room [HeaderLen + MaxPacket]byte
	switch {
	case len(packet) > MaxPacket:
		return false
	case HeaderLen+len(packet) <= max:
		d.Kind = Whole
		return l.SendDatagram(d.Append(room[:0]))
	}
	half := (len(packet) + 1) / 2
	if partLen+half > max {
		return false
	}
	d.Content = packet[:half]
	if !l.SendDatagram(d.Append(room[:0])) {
		return false
	}
	d.Kind, d.Content = d.Kind+1, packet[half:]
	return l.SendDatagram(d.Append(room[:0]))
}

// maxParts is how many parts wait for their other half. The other half follows at once, so
// more of them wait only when packets are lost.
const maxParts = 8

// A Joiner joins the parts of packets from one peer. It keeps at most the 8 latest parts. The
// zero value is ready to use. Goroutines must not share it.
type Joiner struct {
	parts [maxParts]part
	next  int // index of the oldest
}

type part struct {
	kind   Kind
	number uint16
	b      []byte // nil: none
}

// Add takes a datagram and returns the packet that it is or completes. The packet may share
// memory with the datagram. ok is false while a part is missing, and for kinds that hold no
// packet.
func (j *Joiner) Add(d Datagram) (packet []byte, ok bool) {
	var other Kind
	switch d.Kind {
	case Whole:
		return d.Content, len(d.Content) > 0
	case First, FirstCut:
		other = d.Kind + 1
	case Second, SecondCut:
		other = d.Kind - 1
	default:
		return nil, false
	}
	for i := range j.parts {
		p := &j.parts[i]
		if p.b == nil || p.kind != other || p.number != d.Number {
			continue
		}
		head, tail := p.b, d.Content
		if other > d.Kind {
			head, tail = d.Content, p.b
		}
		p.b = nil
		if n := len(head) + len(tail); n == 0 || n > MaxPacket {
			return nil, false
		}
		return append(append(make([]byte, 0, len(head)+len(tail)), head...), tail...), true
	}
	j.parts[j.next] = part{d.Kind, d.Number, append(make([]byte, 0, len(d.Content)), d.Content...)}
	j.next = (j.next + 1) % maxParts
	return nil, false
}
