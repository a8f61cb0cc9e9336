package peerref

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

func TestOnePeerIsOneRef(t *testing.T) {
	var refs Refs
	a, b := wire.PeerID{1}, wire.PeerID{2}
	ref := refs.Of(a)
	if ref.ID != a || ref.Key != a.Key() {
		t.Fatalf("Of(%s) is %s with key %s", a, ref.ID, ref.Key)
	}
	got := refs.Contacts([]wire.Contact{{ID: b}, {ID: a}})
	if got[1].Addr != ref || refs.Of(b) != got[0].Addr {
		t.Error("a peer has two refs")
	}
}

func TestRefsAreBounded(t *testing.T) {
	var refs Refs
	for i := range 2*maxRefs + 10 {
		refs.Of(wire.PeerID{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if len(refs.m) > maxRefs {
		t.Errorf("%d refs, want at most %d", len(refs.m), maxRefs)
	}
}

func TestSilenceEndsWithAnAnswer(t *testing.T) {
	var refs Refs
	ref, now := refs.Of(wire.PeerID{1}), time.Unix(1000, 0)
	if ref.IsSilent(now, time.Minute) {
		t.Error("silent before any request")
	}
	ref.MarkSilent(now)
	if !ref.IsSilent(now.Add(59*time.Second), time.Minute) || ref.IsSilent(now.Add(time.Minute), time.Minute) {
		t.Error("a minute of silence is not a minute")
	}
	ref.MarkAnswered()
	if ref.IsSilent(now, time.Minute) {
		t.Error("silent after an answer")
	}
}
