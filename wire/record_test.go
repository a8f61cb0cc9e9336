package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
)

// one of each kind, valid at noon.
func records() map[Kind]*Signed {
	r := Record{Seq: 1, Expiry: noon.Add(time.Hour), Value: []byte("value")}
	out := map[Kind]*Signed{}
	for kind := KindContent; kind.Known(); kind++ {
		r := r
		r.Kind = kind
		switch kind {
		case KindOwned:
			r.Name = []byte("name")
		case KindOpen:
			r.Key = routing.KeyOf("key")
		case KindPeer:
			r.Value = mustValue(PeerInfo{Mode: ModeServer, Addrs: []Addr{addr6}})
		case KindProvider:
			r.Key, r.Value = routing.KeyOf("room"), nil
		}
		out[kind] = mustSign(r, alice)
	}
	return out
}

func TestSignFillsIn(t *testing.T) {
	id := idOf(alice)
	for kind, want := range map[Kind]routing.Key{
		KindContent:  routing.KeyOf("value"),
		KindOwned:    OwnedKey(id, []byte("name")),
		KindOpen:     routing.KeyOf("key"),
		KindPeer:     id.Key(),
		KindProvider: routing.KeyOf("room"),
	} {
		s := records()[kind]
		if s.Record.Key != want || s.Record.Publisher != id {
			t.Errorf("%v: key %s of %s", kind, s.Record.Key, s.Record.Publisher)
		}
		if err := s.Verify(noon); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
	}
	in := Record{Kind: KindOpen, Expiry: noon.Add(time.Hour + 1500*time.Microsecond), Value: []byte("a")}
	s := mustSign(in, alice)
	in.Value[0] = 'b'
	if got := s.Record; string(got.Value) != "a" || !got.Expiry.Equal(noon.Add(time.Hour+time.Millisecond)) {
		t.Errorf("signed %q until %v", got.Value, got.Expiry)
	}
}

// The wire bytes of a record, and the hashed bytes, are pinned: computed with
// other tools.
func TestRecordBytes(t *testing.T) {
	s := mustSign(Record{Kind: KindOwned, Name: []byte("name"), Seq: 300, Expiry: noon, Value: []byte("value")}, alice)
	payload := "0802" +
		"1220" + ownedKeyHex +
		"1a20" + "bc7cbcb5636375fa1d82434d466724d92377f53b980695dd49d26d0ce12205a5" +
		"22046e616d65" +
		"28ac02" +
		"30809494caca33" +
		"3a0576616c7565"
	if got := hex.EncodeToString(s.Payload); got != payload {
		t.Errorf("payload\n%s, want\n%s", got, payload)
	}
	if got := hex.EncodeToString(s.Signature[:]); got != signatureHex {
		t.Errorf("signature %s", got)
	}
	hash := s.Hash()
	if got := hex.EncodeToString(hash[:]); got != hashHex {
		t.Errorf("hash %s", got)
	}
	b := AppendSigned(nil, s)
	if want, _ := hex.DecodeString("0a5d" + payload + "1240" + signatureHex); !bytes.Equal(b, want) || s.Size() != len(b) {
		t.Errorf("stored as %x, %d bytes, size %d", b, len(b), s.Size())
	}
}

const (
	ownedKeyHex  = "ee4ce758c1ca3f00c86d62765d0e8cd23d74e5c54eb29a978f8c5b7a47d8dead"
	signatureHex = "729622929b0ec53097c8df5efaf7d7c9aebc6bacd3be1c041271203213414170ba47c5552c045610fefc3760598f8291fb1dd73f702a50362c5e896ac008d50d"
	hashHex      = "b00128b70bbcd83bd36830a0c7da24d07e201d9fc3b0f1dd28d94a1f2d489c8b"
)

func TestSignRefuses(t *testing.T) {
	later := noon.Add(time.Hour)
	other := routing.KeyOf("other")
	for name, c := range map[string]struct {
		r    Record
		want error
	}{
		"no kind":           {Record{Expiry: later}, ErrRecord},
		"unknown kind":      {Record{Kind: 6, Expiry: later}, ErrBadKind},
		"no expiry":         {Record{Kind: KindOpen}, ErrRecord},
		"before 1970":       {Record{Kind: KindOpen, Expiry: time.Unix(-1, 0)}, ErrRecord},
		"after 9999":        {Record{Kind: KindOpen, Expiry: time.Unix(1<<40, 0)}, ErrRecord},
		"sequence number":   {Record{Kind: KindOpen, Expiry: later, Seq: MaxSeq + 1}, ErrRecord},
		"large value":       {Record{Kind: KindOpen, Expiry: later, Value: make([]byte, MaxValue+1)}, ErrRecord},
		"long name":         {Record{Kind: KindOwned, Expiry: later, Name: make([]byte, MaxName+1)}, ErrRecord},
		"name without use":  {Record{Kind: KindProvider, Expiry: later, Name: []byte("a")}, ErrRecord},
		"other name":        {Record{Kind: KindOpen, Expiry: later, Key: other, Name: []byte("a")}, ErrBadKey},
		"other content":     {Record{Kind: KindContent, Expiry: later, Key: other}, ErrBadKey},
		"other owner":       {Record{Kind: KindOwned, Expiry: later, Key: OwnedKey(idOf(bob), nil)}, ErrBadKey},
		"other peer":        {Record{Kind: KindPeer, Expiry: later, Key: idOf(bob).Key(), Value: mustValue(PeerInfo{Mode: 1})}, ErrBadKey},
		"peer of no mode":   {Record{Kind: KindPeer, Expiry: later}, ErrRecord},
		"peer of garbage":   {Record{Kind: KindPeer, Expiry: later, Value: []byte("garbage")}, ErrRecord},
		"provider of text":  {Record{Kind: KindProvider, Expiry: later, Value: []byte("text")}, ErrRecord},
		"large peer record": {Record{Kind: KindPeer, Expiry: later, Value: make([]byte, MaxPeerRecord+1)}, ErrRecord},
	} {
		if s, err := Sign(c.r, alice); !errors.Is(err, c.want) || s != nil {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := Sign(Record{Kind: KindOpen, Expiry: later}, alice[:32]); err == nil {
		t.Error("half a private key signs")
	}
	for _, n := range []int{0, MaxValue} {
		if _, err := Sign(Record{Kind: KindOpen, Expiry: later, Value: make([]byte, n)}, alice); err != nil {
			t.Errorf("value of %d bytes: %v", n, err)
		}
	}
	longest := Record{Kind: KindOwned, Name: make([]byte, MaxName), Value: make([]byte, MaxValue), Seq: MaxSeq, Expiry: time.UnixMilli(maxMillis)}
	if s, err := Sign(longest, alice); err != nil || len(s.Payload) > MaxPayload {
		t.Errorf("longest record: %v", err)
	} else if _, err := ParseSigned(AppendSigned(nil, s)); err != nil {
		t.Errorf("longest record: %v", err)
	}
}

func TestVerifyTimes(t *testing.T) {
	s := openRecord("a", "b") // expires 24 h after noon
	for at, want := range map[time.Duration]error{
		0:                         nil,
		-MaxSkew:                  nil,
		-MaxSkew - 1:              ErrTooFarAhead,
		MaxTTL - time.Millisecond: nil,
		MaxTTL:                    ErrExpired,
		1000 * time.Hour:          ErrExpired,
	} {
		if err := s.Verify(noon.Add(at)); !errors.Is(err, want) {
			t.Errorf("at noon%+v: %v, want %v", at, err, want)
		}
	}
}

// Whatever is changed, the signature no longer fits.
func TestVerifySignature(t *testing.T) {
	for kind, s := range records() {
		for i := range s.Payload {
			bad := &Signed{Payload: bytes.Clone(s.Payload), Signature: s.Signature}
			bad.Payload[i] ^= 1
			bad.Record, _ = parseRecord(bad.Payload)
			if bad.Verify(noon) == nil {
				t.Fatalf("%v: byte %d of the payload changed and nobody noticed", kind, i)
			}
		}
		for i := range s.Signature {
			bad := &Signed{Record: s.Record, Payload: s.Payload, Signature: s.Signature}
			bad.Signature[i] ^= 1
			if err := bad.Verify(noon); err != ErrBadSignature {
				t.Fatalf("%v: byte %d of the signature changed: %v", kind, i, err)
			}
		}
	}
	// A signature over the bare payload, or for another use of the key, is none.
	s := records()[KindOpen]
	for _, prefix := range []string{"", hashDomain, "kadquic record v2\x00"} {
		bad := &Signed{Record: s.Record, Payload: s.Payload}
		copy(bad.Signature[:], ed25519.Sign(alice, append([]byte(prefix), s.Payload...)))
		if err := bad.Verify(noon); err != ErrBadSignature {
			t.Errorf("signed with domain %q: %v", prefix, err)
		}
	}
}

// A record that breaks the rule of its kind is refused though it is well signed.
func TestVerifyRules(t *testing.T) {
	later := noon.Add(time.Hour)
	forged := func(r Record) *Signed {
		r.Publisher = idOf(alice)
		s := &Signed{Record: r, Payload: appendRecord(nil, &r)}
		copy(s.Signature[:], ed25519.Sign(alice, append([]byte(recordDomain), s.Payload...)))
		return s
	}
	for name, c := range map[string]struct {
		r    Record
		want error
	}{
		"content":  {Record{Kind: KindContent, Key: routing.KeyOf("x"), Expiry: later, Value: []byte("y")}, ErrBadKey},
		"owned":    {Record{Kind: KindOwned, Key: OwnedKey(idOf(bob), []byte("n")), Name: []byte("n"), Expiry: later}, ErrBadKey},
		"name":     {Record{Kind: KindOwned, Key: OwnedKey(idOf(alice), []byte("n")), Name: []byte("m"), Expiry: later}, ErrBadKey},
		"open":     {Record{Kind: KindOpen, Key: routing.KeyOf("x"), Name: []byte("y"), Expiry: later}, ErrBadKey},
		"peer":     {Record{Kind: KindPeer, Key: idOf(bob).Key(), Expiry: later, Value: mustValue(PeerInfo{Mode: 1})}, ErrBadKey},
		"peerless": {Record{Kind: KindPeer, Key: idOf(alice).Key(), Expiry: later, Value: []byte{0xff}}, ErrRecord},
		"provider": {Record{Kind: KindProvider, Expiry: later, Value: []byte{0xff}}, ErrRecord},
		"kind":     {Record{Kind: 99, Expiry: later}, ErrBadKind},
	} {
		s := forged(c.r)
		if again, err := ParseSigned(AppendSigned(nil, s)); err != nil || again.Record.Kind != c.r.Kind {
			t.Errorf("%s: not even parsed: %v", name, err)
		}
		if err := s.Verify(noon); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := new(Signed).Verify(noon); !errors.Is(err, ErrRecord) {
		t.Errorf("nothing: %v", err)
	}
}

func TestCodeOf(t *testing.T) {
	for err, want := range map[error]Code{
		nil: CodeOK, ErrExpired: CodeExpired, ErrTooFarAhead: CodeAhead, ErrBadKind: CodeUnimplemented,
		ErrBadSignature: CodeInvalid, ErrBadKey: CodeInvalid, ErrRecord: CodeInvalid,
	} {
		if got := CodeOf(err); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}

// Signed bytes have one form only.
func TestPayloadIsCanonical(t *testing.T) {
	good := records()[KindOwned].Payload // kind, key, publisher, name, seq, expiry, value
	if _, ok := parseRecord(good); !ok {
		t.Fatal("the record itself does not parse")
	}
	kind, rest := good[:2], good[2:]
	for name, b := range map[string][]byte{
		"empty":          {},
		"cut short":      good[:len(good)-1],
		"order":          append(bytes.Clone(rest), kind...),
		"twice":          append(bytes.Clone(kind), good...),
		"unknown field":  append(bytes.Clone(good), 0x40, 0x01),
		"kind longer":    append([]byte{0x08, 0x82, 0x00}, rest...),
		"tag longer":     append([]byte{0x88, 0x00, 0x02}, rest...),
		"wrong type":     append([]byte{0x0a, 0x01, 0x02}, rest...),
		"kind zero":      append([]byte{0x08, 0x00}, rest...),
		"kind 256":       append([]byte{0x08, 0x80, 0x02}, rest...),
		"no kind":        rest,
		"empty value":    append(bytes.Clone(good[:len(good)-7]), 0x3a, 0x00),
		"without expiry": good[:len(good)-7-7],
	} {
		if r, ok := parseRecord(b); ok {
			t.Errorf("%s: parsed as %+v", name, r)
		}
	}
}

func TestStoredForm(t *testing.T) {
	for kind, s := range records() {
		b := AppendSigned(nil, s)
		got, err := ParseSigned(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%v: got %+v, %v", kind, got, err)
		}
		clear(b)
		if err := got.Verify(noon); err != nil {
			t.Errorf("%v changed with the input: %v", kind, err)
		}
	}
	for name, b := range map[string]string{"nothing": "", "garbage": "\xff\xff", "unreadable": "\x0a\x01a\x12\x40" + strings.Repeat("a", 64)} {
		if s, err := ParseSigned([]byte(b)); !errors.Is(err, ErrRecord) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Within one publisher the higher sequence replaces the lower, whatever its
// expiry; across publishers the later expiry stands first.
func TestOrder(t *testing.T) {
	sign := func(seq uint64, hours int, value string, key ed25519.PrivateKey) *Signed {
		return mustSign(Record{Kind: KindOpen, Seq: seq, Expiry: noon.Add(time.Duration(hours) * time.Hour), Value: []byte(value)}, key)
	}
	old, long := sign(1, 20, "", alice), sign(2, 10, "", alice)
	if !Newer(long, old) || Newer(old, long) {
		t.Error("the higher sequence is not newer")
	}
	if !Better(old, long) || Better(long, old) {
		t.Error("the later expiry is not better")
	}
	if a, b := sign(1, 2, "", alice), sign(1, 1, "", alice); !Newer(a, b) || Newer(b, a) {
		t.Error("at one sequence the later expiry is not newer")
	}
	if a, b := sign(2, 1, "", alice), sign(1, 1, "", bob); !Better(a, b) || Better(b, a) {
		t.Error("at one expiry the higher sequence is not better")
	}
	a, b := sign(1, 1, "a", alice), sign(1, 1, "b", alice)
	ha, hb := a.Hash(), b.Hash()
	if smaller := bytes.Compare(ha[:], hb[:]) < 0; Newer(a, b) != smaller || Newer(b, a) == smaller || Better(a, b) != smaller || Better(b, a) == smaller {
		t.Error("the smaller hash does not decide")
	}
	if Newer(a, a) || Better(a, a) {
		t.Error("a record is before itself")
	}
}

func TestOrdersAreTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s [3]*Signed
		for i := range s {
			r := Record{Kind: KindOpen, Publisher: idOf(alice), Seq: rapid.Uint64Range(1, 2).Draw(t, "seq"),
				Expiry: time.UnixMilli(rapid.Int64Range(1, 2).Draw(t, "expiry")), Value: []byte{rapid.ByteRange(0, 2).Draw(t, "value")}}
			s[i] = &Signed{Record: r, Payload: appendRecord(nil, &r)}
		}
		for name, before := range map[string]func(a, b *Signed) bool{"Newer": Newer, "Better": Better} {
			equal := bytes.Equal(s[0].Payload, s[1].Payload)
			if n := btoi(before(s[0], s[1])) + btoi(before(s[1], s[0])) + btoi(equal); n != 1 {
				t.Fatalf("%s: %d of before, after, equal", name, n)
			}
			if before(s[0], s[1]) && before(s[1], s[2]) && !before(s[0], s[2]) {
				t.Fatalf("%s is not transitive", name)
			}
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestPeerInfo(t *testing.T) {
	for _, p := range []PeerInfo{
		{Mode: ModeClient},
		{Mode: ModeServer, Addrs: []Addr{addr6, addrDNS, addr4(1, 1)}, Relays: []PeerID{idOf(bob), idOf(alice)}},
		{Mode: ModeServer, Addrs: repeat(Addr(string(addrDNS)), MaxAddrs), Relays: repeat(idOf(bob), MaxRelays)},
	} {
		r := Record{Kind: KindPeer, Value: mustValue(p)}
		if got, err := r.PeerInfo(); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("went %+v, came %+v, %v", p, got, err)
		}
	}
	for name, p := range map[string]PeerInfo{
		"no mode":        {},
		"nine addresses": {Mode: 1, Addrs: repeat(addr6, MaxAddrs+1)},
		"five relays":    {Mode: 1, Relays: repeat(idOf(bob), MaxRelays+1)},
		"no relay":       {Mode: 1, Relays: make([]PeerID, 1)},
		"no address":     {Mode: 1, Addrs: make([]Addr, 1)},
	} {
		if b, err := p.Value(); !errors.Is(err, ErrRecord) || b != nil {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
	relay := "\x1a\x20" + strings.Repeat("r", 32)
	for name, value := range map[string]string{
		"empty":          "",
		"no mode":        relay,
		"nine addresses": "\x08\x01" + strings.Repeat("\x12\x01a", MaxAddrs+1),
		"five relays":    "\x08\x01" + strings.Repeat(relay, MaxRelays+1),
		"short relay":    "\x08\x01\x1a\x01r",
		"cut short":      "\x08\x01\x12",
		"too large":      "\x08\x01" + strings.Repeat("\x20\x01", MaxPeerRecord/2),
	} {
		r := Record{Kind: KindPeer, Value: []byte(value)}
		if p, err := r.PeerInfo(); !errors.Is(err, ErrRecord) || p.Mode != 0 || p.Addrs != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	future := Record{Kind: KindPeer, Value: []byte("\x08\x07\x12\x03abc\x12\x0b" + string(addr4(1, 1)) + "\x20\x01")}
	if p, err := future.PeerInfo(); err != nil || !reflect.DeepEqual(p, PeerInfo{Mode: ModeClient, Addrs: []Addr{addr4(1, 1)}}) {
		t.Errorf("of the future: %+v, %v", p, err)
	}
	if _, err := (Record{Kind: KindOpen, Value: mustValue(PeerInfo{Mode: 1})}).PeerInfo(); err == nil {
		t.Error("an open record has peer info")
	}
}
