package main

import (
	"fmt"
	"net"
	"testing"
)

// A chat whose bootstrap peer is silent says what may be the matter, prints its
// ticket all the same, and can be called.
func TestSilentBootstrap(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	const id = "12D3KooWAc1XbPtVWbe8YCkhzqBRajmC9vXxxiHxDU3WmFTHuGrD"
	at := fmt.Sprintf("--bootstrap=/ip4/127.0.0.1/udp/%d/quic-v1/p2p/%s", silent.LocalAddr().(*net.UDPAddr).Port, id)
	alice := start(t, "--name=alice", at)
	ticket := alice.ticket()
	alice.rewind() // the two lines come in either order
	alice.want(`\* not in the network yet, and trying on: .*lets no UDP through.*`)
	bob := start(t, "--name=bob", at, ticket)
	bob.want(`\* not in the network yet, and trying on: .*lets no UDP through.*`)
	bob.want(`\* alice·.... is here, .*`)
	bob.quit()
	alice.quit()
}
