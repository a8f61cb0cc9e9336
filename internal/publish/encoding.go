package publish

import (
	"encoding/binary"
	"fmt"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// MaxLabel is the length of the longest label, in bytes.
const MaxLabel = 1024

// appendLabel encodes a label: kind 1 | key 32 | label.
func appendLabel(at Key, label string) []byte {
	return append(append([]byte{byte(at.Kind)}, at.Key[:]...), label...)
}

func parseLabel(data []byte) (at Key, label string, ok bool) {
	if n := len(data) - 1 - len(at.Key); n <= 0 || n > MaxLabel {
		return Key{}, "", false
	}
	return Key{wire.Kind(data[0]), routing.Key(data[1:33])}, string(data[33:]), true
}

// retractionLen is the length of a saved retraction: kind 1 | key 32 | sequence 8,
// little-endian.
const retractionLen = 1 + len(routing.Key{}) + 8

func appendRetraction(at Key, seq uint64) []byte {
	data := append([]byte{byte(at.Kind)}, at.Key[:]...)
	return binary.LittleEndian.AppendUint64(data, seq)
}

func parseRetraction(data []byte) (at Key, seq uint64, err error) {
	if len(data) != retractionLen {
		return Key{}, 0, fmt.Errorf("a retraction of %d bytes, want %d", len(data), retractionLen)
	}
	at = Key{wire.Kind(data[0]), routing.Key(data[1:33])}
	return at, binary.LittleEndian.Uint64(data[33:]), nil
}
