package punch

import (
	"bytes"
	"crypto/ecdh"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A pair is a caller's checklist with keys, and the keys of its peer.
type pair struct {
	t   testing.TB
	now time.Time
	a   *Checklist
	b   Keys // of the callee
}

func newPair(t testing.TB) *pair {
	t.Helper()
	keyA, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	keyB, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	publicA, publicB := [32]byte(keyA.PublicKey().Bytes()), [32]byte(keyB.PublicKey().Bytes())
	p := &pair{t: t, now: time.Unix(1e9, 0)}
	r := rand.New(rand.NewPCG(1, 2))
	if p.a, err = NewCaller(Config{Caller: publicA, Rand: r.Uint64, Allowance: 10000}, p.now, p.now, nil); err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(keyA, publicB, true)
	if err != nil {
		t.Fatal(err)
	}
	if p.b, err = NewKeys(keyB, publicA, false); err != nil {
		t.Fatal(err)
	}
	p.a.SetKeys(p.now, keys, func(Endpoint, []byte) {})
	return p
}

// step returns the nonces of the PINGs that a sends, by destination.
func (p *pair) step(s *Checklist) map[netip.AddrPort]uint64 {
	p.t.Helper()
	nonces := map[netip.AddrPort]uint64{}
	s.Step(p.now, func(to Endpoint, b []byte) {
		kind, nonce, ok := p.b.in.open(b)
		if !ok || kind != kindPing {
			p.t.Fatalf("%x is no PING", b)
		}
		nonces[to.Addr] = nonce
	})
	return nonces
}

func (p *pair) answer(nonce uint64, from netip.AddrPort) bool {
	return p.a.Receive(p.now, 0, from, p.b.out.append(nil, kindPong, nonce), func(Endpoint, []byte) {})
}
