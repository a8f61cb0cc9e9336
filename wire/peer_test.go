package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

// The forms of one key, as other libp2p tools write them: the peer ID, CIDv1 in
// base 32 and base 36.
const (
	aliceID     = "12D3KooWNW98jY6oC8EEaFFbYCc24HPRaNAJaEY7eiAvspiAgFak"
	aliceBase32 = "bafzaajaiaejcbpd4xs2wgy3v7ioyeq2niztsjwjdo72txgagsxoututnbtqsebnf"
	aliceBase36 = "k51qzi5uqu5dkvpmah5qzwwqk0172xkuw8gk9h707u3j8gci6u99v5hvp6xrxh"
)

func TestPeerIDForms(t *testing.T) {
	id := idOf(alice)
	for _, s := range []string{aliceID, aliceBase32, aliceBase36} {
		got, err := ParsePeerID(s)
		if err != nil || got != id {
			t.Errorf("ParsePeerID(%s) = %s, %v", s, got, err)
		}
	}
	if id.String() != aliceID {
		t.Errorf("String is %s, want %s", id, aliceID)
	}
	if m, err := ma.NewMultiaddr("/p2p/" + id.String()); err != nil || m.String() != "/p2p/"+aliceID {
		t.Errorf("go-multiaddr says %v, %v", m, err)
	}
	if got, want := id.Key().String(), "c2d2a86c4e59dff1707fb5eb50aa1d96c40912180e99c81759510851ffe4e922"; got != want {
		t.Errorf("key is %s, want %s", got, want)
	}
}

func TestPeerIDRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty":            "",
		"garbage":          "not a peer",
		"hex":              strings.Repeat("a1", 32),
		"cut":              aliceID[:51],
		"longer":           aliceID + "1",
		"RSA":              "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"empty identity":   "11",
		"secp256k1":        "16Uiu2HAm1Nn8QPYZhZBYXCEyQrTrHHLEdxLMPV3gm7ocUpbqQzCt",
		"a CID of content": "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
		"zero key":         "12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw",
		"a megabyte":       strings.Repeat("1", 1<<20),
		"with a slash":     aliceID + "/p2p-circuit",
	} {
		if id, err := ParsePeerID(s); !errors.Is(err, ErrPeerID) || !id.IsZero() {
			t.Errorf("%s: got %s, %v, want ErrPeerID", name, id, err)
		}
	}
}

func TestPeerIDText(t *testing.T) {
	in := map[PeerID]string{idOf(alice): "alice"}
	b, err := json.Marshal(in)
	if want := `{"` + aliceID + `":"alice"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	var out map[PeerID]string
	if err := json.Unmarshal(b, &out); err != nil || out[idOf(alice)] != "alice" {
		t.Errorf("got %v, %v", out, err)
	}
	var zero struct{ ID PeerID }
	if b, err := json.Marshal(zero); err != nil || string(b) != `{"ID":""}` || json.Unmarshal(b, &zero) != nil || !zero.ID.IsZero() {
		t.Errorf("nobody is %s, %v, and back %v", b, err, zero)
	}
	id := idOf(bob)
	if err := id.UnmarshalText([]byte("nonsense")); err == nil || id != idOf(bob) {
		t.Errorf("got %v, and the ID became %s", err, id)
	}
}
