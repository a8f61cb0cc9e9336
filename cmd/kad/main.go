// Command kad runs and uses Kademlia nodes that talk QUIC.
//
//	kad demo                      a whole network on this machine, at work
//	kad up                        one node, until interrupted
//	kad testnet                   a network on this machine, driven by commands
//
//	kad put KEY VALUE             store a value in a network
//	kad get KEY                   find it
//	kad unpublish KEY             let it end
//	kad provide KEY               say that this node has what a key stands for
//	kad providers KEY             who says so
//	kad durability KEY            which nodes hold a value now
//	kad lookup KEY                the nodes nearest to a key
//	kad ping PEERID|MULTIADDR     is a peer there, and how far
//
//	kad status                    the state of this profile's node
//	kad published, kad records    the records it keeps alive, and those it holds
//	kad doctor                    a check of the profile
//	kad backup, kad restore FILE  a copy of it
//	kad id, kad keygen            its identity
//
//	kad bench WORKLOAD            measure
//	kad version                   what it was built from
//	kad completion SHELL          completion of its commands and flags
//
// A command works through the node that runs on the profile; with --bootstrap, or
// with $KAD_BOOTSTRAP where none runs, it joins a network for as long as it takes.
//
// Results go to standard output, all else to standard error; with --json each
// result is one JSON object on one line. The exit codes are in exit.go.
package main

import (
	"context"
	"os"
)

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.run(withSignals(context.Background()), os.Args[1:]))
}
