package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/kadquic/kadquic/routing"
)

// weakIDs are keys without a secret, and second encodings of keys.
func weakIDs(t *testing.T) (ids []PeerID) {
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"0100000000000000000000000000000000000000000000000000000000000080", // with x = -0
		"0000000000000000000000000000000000000000000000000000000000000080", // order 4; with the other sign it is zero
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // with x = -0
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", // order 8
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 3
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, PeerID(b))
	}
	return ids
}

// A message that names such a key as a peer is invalid, wherever it names it.
// FIND_VALUE's and GET_PROVIDERS's After is a place in an order and not a peer.
func TestMessagesWithWeakKeysAreInvalid(t *testing.T) {
	weak := weakIDs(t)
	fields := map[string]bool{}
	for name, f := range samples() {
		body := reflect.New(reflect.TypeOf(f.Body)).Elem()
		body.Set(reflect.ValueOf(f.Body))
		for _, at := range peerIDs(body, reflect.TypeOf(f.Body).Name()) {
			if at.value.IsZero() || at.name == "FindValue.After" || at.name == "GetProviders.After" {
				continue
			}
			fields[at.name] = true
			good := at.value.Interface()
			for _, id := range weak {
				at.value.Set(reflect.ValueOf(id))
				_, err := ParseFrame(AppendFrame(nil, Frame{f.ID, body.Interface().(Message)}))
				if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Reason != string(badPeerID) {
					t.Errorf("%s, with %s %x: %v", name, at.name, id[:], err)
				}
			}
			at.value.Set(reflect.ValueOf(good))
		}
	}
	if len(fields) < 4 {
		t.Errorf("tried only %v", fields)
	}
}

type peerIDField struct {
	name  string
	value reflect.Value
}

// peerIDs returns the fields of a message that are peer IDs, but not those in the
// payloads of records.
func peerIDs(v reflect.Value, name string) (all []peerIDField) {
	switch {
	case v.Type() == reflect.TypeFor[PeerID]():
		return []peerIDField{{name, v}}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				all = append(all, peerIDs(v.Field(i), v.Type().Name()+"."+f.Name)...)
			}
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			all = append(all, peerIDs(v.Index(i), name)...)
		}
	}
	return all
}

func TestTextsWithWeakKeysAreNoPeerIDs(t *testing.T) {
	good := idOf(alice)
	for _, id := range weakIDs(t) {
		if got, err := ParsePeerID(id.String()); !errors.Is(err, ErrPeerID) {
			t.Errorf("%s: %x, %v", id, got[:], err)
		}
		if got := good; !errors.Is(got.UnmarshalText([]byte(id.String())), ErrPeerID) || got != good {
			t.Errorf("unmarshalled %s as %v", id, got)
		}
		if _, got, err := SplitPeer(JoinPeer(addr4(1, 1), id)); !errors.Is(err, ErrPeerID) {
			t.Errorf("an address of %s: %v, %v", id, got, err)
		}
		for _, c := range []Circuit{{Relay: id, Peer: good}, {Relay: good, Peer: id}} {
			if _, err := ParseCircuit(c.Multiaddr()); !errors.Is(err, ErrPeerID) {
				t.Errorf("%v: %v", c.Multiaddr(), err)
			}
		}
	}
}

// forge makes a signature that Go's crypto/ed25519 takes for one by a key of small
// order: S is 0, and one of the points of small order is R.
func forge(t *testing.T, id PeerID, signed []byte) (signature [64]byte, ok bool) {
	for _, r := range weakIDs(t) {
		copy(signature[:], r[:])
		if ed25519.Verify(id[:], signed, signature[:]) {
			return signature, true
		}
	}
	return signature, false
}

func TestRecordsOfWeakPublishersDoNotVerify(t *testing.T) {
	forged := 0
	for _, id := range weakIDs(t) {
		for kind := KindContent; kind.Known(); kind++ {
			r := Record{Kind: kind, Publisher: id, Key: routing.KeyOf("x"), Expiry: noon.Add(MaxTTL)}
			if kind == KindPeer {
				r.Value = mustValue(PeerInfo{Mode: ModeServer})
			}
			if key, ok := r.ownKey(); ok {
				r.Key = key
			}
			s := &Signed{Payload: appendRecord(nil, &r)}
			var ok bool
			if s.Signature, ok = forge(t, id, append([]byte(recordDomain), s.Payload...)); ok {
				forged++
			}
			s, err := ParseSigned(AppendSigned(nil, s))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(noon); !errors.Is(err, ErrRecord) || CodeOf(err) != CodeInvalid {
				t.Errorf("kind %v, by %x: %v", kind, id[:], err)
			}
		}
	}
	if forged < 5 {
		t.Errorf("%d signatures could be forged: the test shows nothing", forged)
	}
}

func TestRecordsThatNameWeakRelaysDoNotVerify(t *testing.T) {
	for _, id := range weakIDs(t) {
		if _, err := (PeerInfo{Mode: ModeClient, Relays: []PeerID{id}}).Value(); !errors.Is(err, ErrRecord) {
			t.Errorf("relay %x is written: %v", id[:], err)
		}
		value := mustValue(PeerInfo{Mode: ModeClient, Relays: []PeerID{idOf(bob)}})
		copy(value[len(value)-len(id):], id[:])
		for _, kind := range []Kind{KindPeer, KindProvider} {
			r := Record{Kind: kind, Publisher: idOf(alice), Key: idOf(alice).Key(), Expiry: noon.Add(MaxTTL), Value: value}
			s := &Signed{Record: r, Payload: appendRecord(nil, &r)}
			copy(s.Signature[:], ed25519.Sign(alice, append([]byte(recordDomain), s.Payload...)))
			if err := s.Verify(noon); !errors.Is(err, ErrRecord) {
				t.Errorf("kind %v with relay %x: %v", kind, id[:], err)
			}
		}
	}
}

func TestCandidateOffersWithWeakKeysAreRefused(t *testing.T) {
	forged := false
	for _, id := range weakIDs(t) {
		i := CandidateOffer{From: id, To: idOf(bob), Key: [32]byte{9}, At: noon}
		payload := i.encode(nil)
		signature, ok := forge(t, id, append([]byte(candidateOfferDomain), payload...))
		forged = forged || ok
		if _, err := ParseCandidateOffer(append(signature[:], payload...)); !errors.Is(err, ErrCandidateOffer) {
			t.Errorf("from %x: %v", id[:], err)
		}
		i.To = id
		if _, err := ParseCandidateOffer(i.Sign(alice)); !errors.Is(err, ErrCandidateOffer) {
			t.Errorf("to %x: %v", id[:], err)
		}
	}
	if !forged {
		t.Error("no signature could be forged: the test shows nothing")
	}
}
