package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
)

// What is set is asked for, and nothing else, before and after the journey.
func TestWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, MaxOffer).Draw(t, "offered")
		set := make(map[int]bool)
		w := NewWanted(n)
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 20).Draw(t, "wanted") {
			w.Set(i)
			set[i] = true
		}
		f, err := ParseFrame(AppendFrame(nil, Frame{ID: 1, Body: w}))
		if err != nil {
			t.Fatal(err)
		}
		got := f.Body.(Wanted)
		for i := -1; i <= MaxOffer; i++ {
			if got.Has(i) != set[i] || w.Has(i) != set[i] {
				t.Fatalf("record %d of %d: asked for: %v, want %v", i, n, got.Has(i), set[i])
			}
		}
	})
}

// Missing bits are 0.
func TestWantedShort(t *testing.T) {
	w := Wanted{Wants: []byte{0x81}}
	for i := range MaxOffer {
		if want := i == 0 || i == 7; w.Has(i) != want {
			t.Errorf("record %d: asked for: %v, want %v", i, w.Has(i), want)
		}
	}
}

// A print tells versions apart, and the same words signed by others. An offer
// of as many as may be fits a frame.
func TestPrint(t *testing.T) {
	a := openRecord("hello", "world")
	if again := openRecord("hello", "world"); again.Print() != a.Print() || string(a.Signature[:16]) != string(again.Signature[:16]) {
		t.Error("one record, two prints")
	}
	other := a.Record
	for _, s := range []*Signed{openRecord("hello", "moon"), mustSign(other, bob)} {
		if s.Print() == a.Print() {
			t.Errorf("%q and %q have one print", s.Payload, a.Payload)
		}
	}
	offer := Offer{}
	for range MaxOffer {
		offer.Records = append(offer.Records, Offered{Kind: 255, Key: a.Record.Key, Print: a.Print()})
	}
	b := AppendFrame(nil, Frame{ID: 1<<64 - 1, Body: offer})
	if len(b) > MaxFrame {
		t.Errorf("an offer of %d records has %d bytes", MaxOffer, len(b))
	}
	if _, err := ParseFrame(b); err != nil {
		t.Error(err)
	}
}

// An open record with a name lies under the hash of the name, so that any
// peer can tell which rules apply to it.
func TestNamedOpenRecord(t *testing.T) {
	s := mustSign(Record{Kind: KindOpen, Name: []byte("/chat/room"), Expiry: noon.Add(MaxTTL), Value: []byte("hi")}, alice)
	if want := routing.KeyOf("/chat/room"); s.Record.Key != want {
		t.Errorf("key %v, want %v", s.Record.Key, want)
	}
	if err := s.Verify(noon); err != nil {
		t.Error(err)
	}
	if s := mustSign(Record{Kind: KindOpen, Key: routing.KeyOf("x"), Expiry: noon.Add(MaxTTL)}, alice); s.Verify(noon) != nil {
		t.Error("a record without a name may lie anywhere")
	}
}
