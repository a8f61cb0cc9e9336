//go:build !linux

package quic

import "testing"

// coalesced: only Linux does that.
func coalesced(*testing.T, *Transport) {}
