package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// Two people are each behind a NAT; they have only a third program on a public host in common.
// Then one of them takes the laptop to another network.
func TestBetweenNATs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a laboratory of NATs")
	}
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	on := func(h *natlab.Host, args ...string) *person {
		t.Helper()
		return startOn(t, h.Command(t.Context(), os.Args[0], args...))
	}
	server := on(lab.Public("server"))
	bootstrap := "--bootstrap=" + server.ticket()
	home, cafe := lab.NAT("home", natlab.PortRestricted), lab.NAT("cafe", natlab.Linux)
	laptop := lab.Host("bob", home)
	alice := on(lab.Home("alice", natlab.Linux), bootstrap, "--name=alice")
	ticket := alice.want(`(12D3KooW.*@/.*/p2p-circuit)`)
	to := t.TempDir()
	bob := on(laptop, bootstrap, "--name=bob", "--downloads="+to, ticket)
	bob.want(`\* alice·.... is here, .*`)
	alice.want(`\* bob·.... is here, .*`)
	bob.say("hello through two NATs")
	alice.want(`bob·....: hello through two NATs`)
	bob.want("  ✓")
	file, data := newFile(t, "plan.bin", 96<<20) // more than goes before progress is told
	alice.say("/send " + file)
	bob.want(`\* plan.bin, alice·....: \d+ of .*`)
	laptop.Move(cafe)
	const n = 20
	for i := range n {
		alice.say(fmt.Sprintf("alice %d", i))
		bob.say(fmt.Sprintf("bob %d", i))
	}
	alice.want(fmt.Sprintf("bob·....: bob %d", n-1))
	bob.want(fmt.Sprintf("alice·....: alice %d", n-1))
	for i := range n {
		if a, b := alice.count(fmt.Sprintf(": bob %d\n", i)), bob.count(fmt.Sprintf(": alice %d\n", i)); a != 1 || b != 1 {
			t.Errorf("message %d is shown %d and %d times", i, a, b)
		}
	}
	alice.rewind() // it may have been faster than the words
	alice.want(`\* .*/plan.bin to bob·....: it is there`)
	if got, err := os.ReadFile(filepath.Join(to, "plan.bin")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file came as %d bytes, %v", len(got), err)
	}
	bob.quit()
	alice.want(`\* bob·.... has left`)
	alice.quit()
	t.Logf("alice:\n%s\nbob:\n%s", alice.all(), bob.all())
}

// Where no hole can be punched, the speed of a file is the relay's, and is said to be.
func TestRelayedFile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a laboratory of NATs")
	}
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	on := func(h *natlab.Host, args ...string) *person {
		t.Helper()
		return startOn(t, h.Command(t.Context(), os.Args[0], args...))
	}
	server := on(lab.Public("server"))
	bootstrap := "--bootstrap=" + server.ticket()
	alice := on(lab.Home("alice", natlab.Symmetric), bootstrap, "--name=alice", "--downloads="+t.TempDir())
	bob := on(lab.Home("bob", natlab.Symmetric), bootstrap, "--name=bob", alice.want(`(12D3KooW.*@/.*/p2p-circuit)`))
	bob.want(`\* alice·.... is here, relayed by .*`)
	file, _ := newFile(t, "plan.bin", 64<<10)
	bob.say("/send " + file)
	alice.want(`\* plan.bin, bob·....: 65536 of 65536 bytes, .* MB/s; it goes through a relay, which limits that`)
	bob.want(`\* .*/plan.bin to alice·....: it is there`)
	bob.quit()
	alice.quit()
}
