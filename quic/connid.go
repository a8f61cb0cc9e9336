package quic

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	quicgo "github.com/quic-go/quic-go"
)

const (
	idLen = 4 // of ordinary connections; quic-go's own choice too

	// IDs of virtual connections end with a seal of this process. Fewer than the 8
	// bytes that a stranger draws for its first packets (RFC 9000 §7.2).
	virtualLen = 7
)

// connIDs draws connection IDs, which say by their first bit what kind of
// connection it is.
type connIDs struct {
	virtual bool
	secret  [32]byte // of the seal
}

func (g connIDs) GenerateConnectionID() (quicgo.ConnectionID, error) {
	var id [virtualLen]byte
	rand.Read(id[:idLen])
	if !g.virtual {
		id[0] &^= 0x80
		return quicgo.ConnectionIDFromBytes(id[:idLen]), nil
	}
	id[0] |= 0x80
	g.seal(id[idLen:], id[:idLen])
	return quicgo.ConnectionIDFromBytes(id[:]), nil
}

func (g connIDs) ConnectionIDLen() int {
	if g.virtual {
		return virtualLen
	}
	return idLen
}

func (g connIDs) seal(to, id []byte) {
	var b [32 + idLen]byte
	copy(b[copy(b[:], g.secret[:]):], id)
	sum := sha256.Sum256(b[:])
	copy(to, sum[:])
}

// issued tells whether a virtual ID was drawn here, since this process began.
func (g connIDs) issued(id []byte) bool {
	if !isVirtual(id) {
		return false
	}
	var seal [virtualLen - idLen]byte
	g.seal(seal[:], id[:idLen])
	return bytes.Equal(seal[:], id[idLen:])
}

func isVirtual(id []byte) bool { return len(id) == virtualLen && id[0]&0x80 != 0 }

// idOf is what tells virtual IDs apart.
func idOf(id []byte) uint32 { return binary.BigEndian.Uint32(id) }

// A header is the part of a QUIC packet that is readable without keys.
type header struct {
	long     bool
	to, from []byte // connection IDs; of a short header from is nil
}

// readHeader reads the header of a packet; ok is false if b is not a QUIC packet. A
// short header does not state the length of its ID: our own IDs have a fixed length
// (RFC 9000 §17.2, §17.3).
func readHeader(b []byte) (h header, ok bool) {
	switch {
	case len(b) < 1+idLen, b[0]&0xc0 == 0:
		return h, false
	case b[0]&0x80 == 0:
		n := idLen
		if b[1]&0x80 != 0 {
			n = virtualLen
		}
		if len(b) < 1+n {
			return h, false
		}
		h.to = b[1 : 1+n]
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
