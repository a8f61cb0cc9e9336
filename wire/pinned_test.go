package wire

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what is pinned: testdata/frames.txt and the exchange in SPEC.md")

// The bytes of each message, except the largest, equal those in the file.
func TestFramesPinned(t *testing.T) {
	const file = "testdata/frames.txt"
	all := samples()
	var got strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if b := AppendPrefixed(nil, all[name]); len(b) < 1000 {
			fmt.Fprintf(&got, "%s\n\t%x\n", name, b)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the bytes on the wire have changed: got\n%s\nwant\n%s", got.String(), want)
	}
}

// Numbers are for ever.
func TestCodesPinned(t *testing.T) {
	for code := CodeOK; int(code) < len(codeNames); code++ {
		if want := "CODE_" + code.String(); pbCode(code) != want {
			t.Errorf("code %d is %s here, %s in kad.proto", code, want, pbCode(code))
		}
	}
	for kind, want := range map[Kind]string{KindContent: "KIND_CONTENT", KindOwned: "KIND_OWNED", KindOpen: "KIND_OPEN", KindPeer: "KIND_PEER", KindProvider: "KIND_PROVIDER"} {
		if pbKind(kind) != want || "KIND_"+strings.ToUpper(kind.String()) != want {
			t.Errorf("kind %d is %v here, %s in kad.proto, want %s", kind, kind, pbKind(kind), want)
		}
	}
	if got := Code(4711).String() + ", " + Code(4711).Error() + ", " + Kind(77).String(); got != "CODE_4711, peer answered with code 4711, kind 77" {
		t.Error(got)
	}
	if got := ModeServer.String() + ", " + ModeClient.String() + ", " + Mode(0).String(); got != "server, client, unknown" {
		t.Error(got)
	}
	if got := (Error{Code: CodeBusy}).Error(); got != "peer is busy" {
		t.Error(got)
	}
	if len(codeTexts) != len(codeNames) {
		t.Error("a code without words")
	}
}

func TestALPN(t *testing.T) {
	if got, want := ALPN("main"), "kadquic/1/15c4a824"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if ALPN("main") == ALPN("test") {
		t.Error("networks mix")
	}
}
