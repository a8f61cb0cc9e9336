package punch

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The bytes of probes must not change.
func TestProbeBytes(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		what string
		b    []byte
		want string
	}{
		{"OPEN", p.a.openDir.append(nil, kindOpen, 1), "20335d550f0591d34a0000000000000001bc7728997f1a4ab21d19f222a460b31d"},
		{"PING of the caller", p.a.keys.out.append(nil, kindPing, 2), "21bccf0ab86322ecd00000000000000002f89275b78f94fee03d9e81e7e08b4806"},
		{"PONG of the callee", p.b.out.append(nil, kindPong, 2), "221a2e9ad9cbddcec80000000000000002749faa5a37444a1c6d9cb0090dfa200c"},
		{"binding request", AppendBindingRequest(nil, 3), "230000000000000003" + strings.Repeat("00", 18)},
	} {
		if got := hex.EncodeToString(c.b); got != c.want {
			t.Errorf("%s is\n%s, want\n%s", c.what, got, c.want)
		}
	}
}

// A binding response is no longer than its request.
func TestBindingResponseDoesNotAmplify(t *testing.T) {
	for _, from := range []string{"1.2.3.4:5", "[2001:db8::1]:65535"} {
		request := AppendBindingRequest(nil, 77)
		response, ok := AnswerBindingRequest(request, addr(from))
		if !ok || len(response) > len(request) {
			t.Fatalf("%x is answered with %x, %v", request, response, ok)
		}
		if nonce, at, ok := ParseBindingResponse(response); !ok || nonce != 77 || at != addr(from) {
			t.Errorf("%x is %d, %v, %v", response, nonce, at, ok)
		}
		if _, ok := AnswerBindingRequest(response, addr(from)); ok {
			t.Error("a binding response is answered")
		}
	}
}

// Keys of small order are refused.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	own, err := ecdh.X25519().GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range [][32]byte{{}, {1}} {
		if _, err := NewKeys(own, k, true); err == nil {
			t.Errorf("key %x makes keys", k)
		}
	}
}

// A probe that is sent twice counts once, and an unsolicited PONG validates nothing.
func TestReplays(t *testing.T) {
	p := newPair(t)
	there := addr("2.2.2.2:4001")
	p.a.AddCandidates(p.now, false, there)
	nonce := p.step(p.a)[there]
	if !p.answer(nonce+1, there) || p.a.State(p.now).Found {
		t.Fatal("an unsolicited answer validates")
	}
	if p.answer(nonce, addr("3.3.3.3:1")); p.a.State(p.now).Found {
		t.Fatal("an answer from another address validates")
	}
	if p.answer(nonce, there); !p.a.State(p.now).Found {
		t.Fatal("an answer does not validate")
	}
	ping := p.b.out.append(nil, kindPing, 9)
	pongs := 0
	credit := p.a.credit
	for range 3 {
		p.a.Receive(p.now, 0, there, ping, func(Endpoint, []byte) { pongs++ })
	}
	if pongs != 1 || p.a.credit-credit != packetCost(there, Size) {
		t.Errorf("%d answers to one PING, credit for %d bytes", pongs, p.a.credit-credit)
	}
	// Its own PINGs, sent back to it, have no effect.
	if p.a.Receive(p.now, 0, there, p.a.keys.out.append(nil, kindPing, 10), nil) {
		t.Error("its own PING counts as the peer's")
	}
}

// The caller buffers probes that come before it has keys, and handles them then.
func TestProbesBeforeKeysAreBuffered(t *testing.T) {
	p := newPair(t)
	keys := *p.a.keys
	there := addr("2.2.2.2:4001")
	var err error
	p.a, err = NewCaller(Config{Rand: rand.New(rand.NewPCG(3, 4)).Uint64, Allowance: 1000}, p.now, p.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxBuffered { // only half of them are kept
		p.a.Receive(p.now, 0, there, p.b.out.append(nil, kindPing, 1), nil)
	}
	var sent [][]byte
	p.a.SetKeys(p.now, keys, func(to Endpoint, b []byte) {
		if to.Addr != there {
			t.Errorf("sends to %v", to)
		}
		sent = append(sent, bytes.Clone(b))
	})
	if len(sent) != 2 || sent[0][0] != kindPong || sent[1][0] != kindPing {
		t.Errorf("sends %x, want one PONG and one PING", sent)
	}
}

func FuzzReceive(f *testing.F) {
	p := newPair(f)
	f.Add(p.b.out.append(nil, kindPing, 1))
	f.Add(p.a.openDir.append(nil, kindOpen, 1))
	f.Add(AppendBindingRequest(nil, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := newPair(t)
		p.a.Receive(p.now, 0, addr("1.2.3.4:5"), b, func(to Endpoint, sent []byte) {
			if to.Addr != addr("1.2.3.4:5") {
				t.Errorf("sends to %v", to)
			}
		})
		if p.a.State(p.now.Add(time.Second)).Found {
			t.Error("random bytes validate an address")
		}
		ParseID(b)
		if a, ok := AnswerBindingRequest(b, addr("1.2.3.4:5")); ok && len(a) > len(b) {
			t.Error("a response longer than the request")
		}
		if nonce, at, ok := ParseBindingResponse(b); ok {
			again, _ := AnswerBindingRequest(AppendBindingRequest(nil, nonce), at)
			if _, at2, ok := ParseBindingResponse(again); !ok || at2 != at {
				t.Errorf("%x is %v, then %v", b, at, at2)
			}
		}
	})
}
