// Command kad runs and uses Kademlia nodes that talk QUIC.
//
//	kad demo                      a whole network on this machine, at work
//	kad up                        one node, until interrupted
//	kad put KEY VALUE             store a value in a network
//	kad get KEY                   find it
//	kad lookup KEY                the nodes nearest to a key
//	kad ping PEERID|MULTIADDR     is a peer there, and how far
//	kad id, kad keygen            this profile's identity
//	kad testnet                   a network on this machine, driven by commands
//	kad bench WORKLOAD            measure
//
// Results go to standard output, all else to standard error; with --json each
// result is one JSON object on a line of its own. The exit codes are in exit.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends the process at once, whatever it is waiting for.
	context.AfterFunc(ctx, stop)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.run(ctx, os.Args[1:]))
}
