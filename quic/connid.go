package quic

import (
	"crypto/rand"

	quicgo "github.com/quic-go/quic-go"
)

// connIDs draws connection IDs, which say by their first bit what kind of
// connection it is.
type connIDs struct{ virtual bool }

func (g connIDs) GenerateConnectionID() (quicgo.ConnectionID, error) {
	var id [idLen]byte
	rand.Read(id[:])
	id[0] &^= 0x80
	if g.virtual {
		id[0] |= 0x80
	}
	return quicgo.ConnectionIDFromBytes(id[:]), nil
}

func (connIDs) ConnectionIDLen() int { return idLen }

// A header is what anybody can read of a QUIC packet.
type header struct {
	long     bool
	to, from []byte // connection IDs; of a short header from is nil
}

// readHeader reads the header of a packet; ok is false if it is none. The length
// of the ID in a short one is not written in it: we know that of ours (RFC 9000
// §17.2, §17.3).
func readHeader(b []byte) (h header, ok bool) {
	switch {
	case len(b) < 1+idLen, b[0]&0xc0 == 0:
		return h, false
	case b[0]&0x80 == 0:
		h.to = b[1 : 1+idLen]
		return h, true
	}
	h.long = true
	rest := b[1:]
	if len(rest) < 4+1 {
		return h, false
	}
	rest = rest[4:]
	for _, id := range []*[]byte{&h.to, &h.from} {
		if len(rest) < 1 || len(rest) < 1+int(rest[0]) || rest[0] > 20 {
			return h, false
		}
		*id = rest[1 : 1+rest[0]]
		rest = rest[1+rest[0]:]
	}
	return h, true
}

// calls tells whether the packet is of the first of a peer's dial, to an ID that
// it has drawn, and whether that dial is virtual at its side.
func (h header) calls() bool { return h.long && len(h.to) >= 8 && isVirtual(h.from) }
