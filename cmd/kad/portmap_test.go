package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// A node behind a NAT maps its port without any configuration, unless --no-portmap is
// given, and deletes the mapping when it ends.
func TestUpMapsItsPort(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t)
	kad := command(t)
	at := func(h *natlab.Host) *inLAN {
		return &inLAN{t, h, kad, filepath.Join(t.TempDir(), h.Name()), nil}
	}
	stranger := at(lab.Public("stranger"))
	alice := at(lab.Home("alice", natlab.Symmetric, natlab.Options{IGD: true}))
	hermit := at(lab.Home("hermit", natlab.Symmetric, natlab.Options{IGD: true}))
	outside := func(r *inLAN) string {
		text, _ := r.daemon.out.state()
		id := regexp.MustCompile(`peer ID  (\w+)`).FindStringSubmatch(text)
		return fmt.Sprintf("/ip4/%v/udp/%d/quic-v1/p2p/%s", r.host.NAT().IP4(), defaultPort, id[1])
	}
	reaches := func(r *inLAN) bool {
		return stranger.command("ping", "--timeout", "3s", outside(r)).Run() == nil
	}
	alice.up()
	hermit.up("--no-portmap")
	for deadline := time.Now().Add(patience); !reaches(alice); {
		if time.Now().After(deadline) {
			t.Fatalf("a stranger does not reach alice at %s", outside(alice))
		}
	}
	if reaches(hermit) {
		t.Error("a stranger reaches one who did not ask for it")
	}
	want := regexp.MustCompile(fmt.Sprintf(`(?m)^router       lets others in at %v:%d, by (PCP|NAT-PMP|UPnP), until`, alice.host.NAT().IP4(), defaultPort))
	told := "address      " + outside(alice) // since a stranger has come in
	for deadline := time.Now().Add(patience); ; {
		got := alice.run("status")
		if want.MatchString(got) && strings.Contains(got, told) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("alice says of the router and of herself:\n%s\nwant %v and %s", got, want, told)
		}
	}
	if got := hermit.run("status"); strings.Contains(got, "router") {
		t.Errorf("the hermit says of the router:\n%s", got)
	}
	alice.down()
	hermit.down()
	alice.up("--no-portmap")
	if reaches(alice) {
		t.Error("a stranger gets in still, after its end")
	}
	alice.down()
}
