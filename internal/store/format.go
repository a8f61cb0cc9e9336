package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"

	"github.com/kadquic/kadquic/internal/netgroup"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// The names of the buckets and of the values in aboutBucket.
var (
	aboutBucket  = []byte("kadquic")
	recordBucket = []byte("records")
	stateBucket  = []byte("state")

	formatKey = []byte("format")
	stampKey  = []byte("stamp")
)

// format is the version of the layout.
const format = "kadquic store 1"

// The first bytes of records and states, by which Salvage finds them in a file of which
// nothing else is intact.
const (
	recordMagic = "kqR1"
	stateMagic  = "kqS1"
)

const (
	headLen   = 46 // of a record, before the Signed
	tombLen   = headLen + 1 + len(routing.Key{}) + 8
	stateHead = 24 // of a state, before the name
	stampLen  = 12

	maxStored = headLen + wire.MaxPayload + 100
	maxName   = 512      // bytes of a state's name
	maxState  = 16 << 20 // bytes of a state
)

const (
	flagCached = 1 << iota
	flagNeighbour
	flagTomb
	flagsKnown = flagCached | flagNeighbour | flagTomb
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the checksum of a value under key, which is stored at byte 4.
func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value[8:])
}

// A dbKey is the key of a record in the database: kind and key, and of the kinds
// whose publishers stand side by side the publisher.
type dbKey [1 + 32 + 32]byte

func (k *dbKey) bytes() []byte {
	if shared(wire.Kind(k[0])) {
		return k[:]
	}
	return k[:33]
}

func dbKeyOf(s slot, publisher wire.PeerID) (k dbKey) {
	k[0] = byte(s.kind)
	copy(k[1:], s.key[:])
	if shared(s.kind) {
		copy(k[33:], publisher[:])
	}
	return k
}

func (e *entry) dbKey() dbKey { return dbKeyOf(e.slot, e.publisher) }

// A stored is a record as it lies in the file. Times are Unix milliseconds.
type stored struct {
	record    *wire.Signed // nil: only the sequence number of slot is remembered
	slot      slot
	seq       uint64
	cached    bool
	account   account
	received  int64 // of the Put that wrote it
	until     int64
	forget    int64
	publisher wire.PeerID
}

func (s *stored) dbKey() dbKey { return dbKeyOf(s.slot, s.publisher) }

// append appends the value of s.
func (s *stored) append(b []byte) []byte {
	start := len(b)
	var flags byte
	if s.cached {
		flags |= flagCached
	}
	if s.account.neighbour {
		flags |= flagNeighbour
	}
	if s.record == nil {
		flags |= flagTomb
	}
	b = append(b, recordMagic...)
	b = append(b, make([]byte, 8)...) // checksum and size, below
	b = append(b, flags)
	b = appendSource(b, s.account.source)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.received))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.until))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.forget))
	if s.record != nil {
		b = wire.AppendSigned(b, s.record)
	} else {
		b = append(b, byte(s.slot.kind))
		b = append(b, s.slot.key[:]...)
		b = binary.LittleEndian.AppendUint64(b, s.seq)
	}
	seal(b[start:], s.dbKey())
	return b
}

// seal fills in size and checksum.
func seal(value []byte, key dbKey) {
	binary.LittleEndian.PutUint32(value[8:], uint32(len(value)))
	binary.LittleEndian.PutUint32(value[4:], checksum(key.bytes(), value))
}

func appendSource(b []byte, p netip.Prefix) []byte {
	var out [9]byte
	switch a := p.Addr(); {
	case a.Is4():
		out[0] = 4
		a4 := a.As4()
		copy(out[1:], a4[:])
	case a.Is6():
		out[0] = 6
		a16 := a.As16()
		copy(out[1:], a16[:8])
	}
	return append(b, out[:]...)
}

func parseSource(b []byte) (p netip.Prefix, ok bool) {
	switch b[0] {
	case 0:
		return p, true
	case 4:
		return netgroup.Of(netip.AddrFrom4([4]byte(b[1:5]))), true
	case 6:
		var a [16]byte
		copy(a[:], b[1:9])
		return netgroup.Of(netip.AddrFrom16(a)), true
	}
	return p, false
}

// storedLen returns the length of the record or state that value begins with, by
// its own word; 0 if it says nothing sensible.
func storedLen(value []byte) int {
	if len(value) < 12 {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(value[8:]))
	switch string(value[:4]) {
	case recordMagic:
		if n >= headLen && n <= int64(maxStored) {
			return int(n)
		}
	case stateMagic:
		if n >= stateHead && n <= stateHead+maxName+maxState {
			return int(n)
		}
	}
	return 0
}

// parseStored reads a value that append wrote and verifies its checksum. It does not keep
// value.
func parseStored(value []byte) (*stored, error) {
	if len(value) < headLen || string(value[:4]) != recordMagic {
		return nil, fmt.Errorf("%d bytes that are no record", len(value))
	}
	if n := storedLen(value); n != len(value) {
		return nil, fmt.Errorf("a record that claims %d bytes, in %d", n, len(value))
	}
	flags := value[12]
	s := &stored{
		cached:   flags&flagCached != 0,
		received: int64(binary.LittleEndian.Uint64(value[22:])),
		until:    int64(binary.LittleEndian.Uint64(value[30:])),
		forget:   int64(binary.LittleEndian.Uint64(value[38:])),
	}
	source, ok := parseSource(value[13:])
	if !ok || flags&^flagsKnown != 0 {
		return nil, fmt.Errorf("a record with an impossible head")
	}
	s.account = account{source, flags&flagNeighbour != 0 && source.IsValid()}
	body := value[headLen:]
	if flags&flagTomb != 0 {
		if len(value) != tombLen || wire.Kind(body[0]) != wire.KindOwned {
			return nil, fmt.Errorf("a malformed sequence number")
		}
		s.slot = slot{routing.Key(body[1:33]), wire.Kind(body[0])}
		s.seq = binary.LittleEndian.Uint64(body[33:])
	} else {
		// Verify the checksum first, so that the parser sees no damaged data. The
		// checksum also covers the key, which the record contains.
		r, err := wire.ParseSigned(body)
		if err != nil {
			return nil, err
		}
		if !storable(r.Record.Kind) {
			return nil, fmt.Errorf("a record of %v", r.Record.Kind)
		}
		s.record, s.slot, s.seq, s.publisher = r, slot{r.Record.Key, r.Record.Kind}, r.Record.Seq, r.Record.Publisher
	}
	key := s.dbKey()
	if checksum(key.bytes(), value) != binary.LittleEndian.Uint32(value[4:]) {
		return nil, fmt.Errorf("wrong checksum")
	}
	return s, nil
}

// appendState appends the value of a state, written by transaction tx.
func appendState(b []byte, name string, data []byte, tx int) []byte {
	start := len(b)
	b = append(b, stateMagic...)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(tx))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = append(append(b, name...), data...)
	value := b[start:]
	binary.LittleEndian.PutUint32(value[8:], uint32(len(value)))
	binary.LittleEndian.PutUint32(value[4:], checksum(nil, value))
	return b
}

// parseState reads a value that appendState wrote; data is a part of value.
func parseState(value []byte) (name string, data []byte, tx uint64, err error) {
	if len(value) < stateHead || string(value[:4]) != stateMagic {
		return "", nil, 0, fmt.Errorf("%d bytes that are no state", len(value))
	}
	if n := storedLen(value); n != len(value) {
		return "", nil, 0, fmt.Errorf("a state that claims %d bytes, in %d", n, len(value))
	}
	if checksum(nil, value) != binary.LittleEndian.Uint32(value[4:]) {
		return "", nil, 0, fmt.Errorf("wrong checksum")
	}
	n := int64(binary.LittleEndian.Uint32(value[20:]))
	if n > int64(len(value)-stateHead) || n > maxName {
		return "", nil, 0, fmt.Errorf("a state with a name of %d bytes", n)
	}
	rest := value[stateHead:]
	return string(rest[:n]), rest[n:], binary.LittleEndian.Uint64(value[12:]), nil
}

// The stamp is the last time by the wall clock that the store wrote, and its
// checksum.
func appendStamp(b []byte, ms int64) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(ms))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[len(b)-8:], castagnoli))
}

func parseStamp(b []byte) (ms int64, ok bool) {
	if len(b) != stampLen || crc32.Checksum(b[:8], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(b)), true
}
