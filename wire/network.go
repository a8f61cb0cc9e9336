package wire

import (
	"encoding/hex"

	"github.com/kadquic/kadquic/routing"
)

// ALPN returns the TLS application protocol of a network: "kadquic/1/" and the
// first 8 hex digits of SHA3-256 of its name, so that networks never mix.
func ALPN(network string) string {
	k := routing.KeyOf(network)
	return "kadquic/1/" + hex.EncodeToString(k[:4])
}
