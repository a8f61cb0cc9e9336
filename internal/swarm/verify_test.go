package swarm

import (
	"crypto/ed25519"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

func TestVerifyCacheIsBounded(t *testing.T) {
	var g VerifyCache
	r, err := wire.Sign(wire.Record{Kind: wire.KindContent, Expiry: time.UnixMilli(math.MaxUint32)}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	other := &wire.Signed{} // no record: its verification ends at once
	first := *other
	for i := range uint64(maxVerified + 1000) {
		if i == maxVerified-1 && !g.Verify(r) {
			t.Fatal("a valid record does not verify")
		}
		binary.BigEndian.PutUint64(other.Signature[:], i)
		if g.Verify(other) {
			t.Fatal("an empty record verifies")
		}
	}
	if len(g.results) != maxVerified || len(g.order) != maxVerified {
		t.Errorf("%d results in a list of %d, want %d", len(g.results), len(g.order), maxVerified)
	}
	checks := g.checks
	if !g.Verify(r) || g.checks != checks {
		t.Error("a recent record is checked again")
	}
	if g.Verify(&first); g.checks != checks+1 {
		t.Error("the oldest result is still there")
	}
}
