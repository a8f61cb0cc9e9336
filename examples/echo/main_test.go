package main

import (
	"context"
	"fmt"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	addrs, done := make(chan ma.Multiaddr), make(chan error)
	go func() {
		done <- answer(ctx, node.Config{NoPortMapping: true}, func(addr ma.Multiaddr) { addrs <- addr })
	}()
	if err := say(ctx, (<-addrs).String(), "hello from afar"); err != nil {
		fmt.Println(err)
	}
	cancel()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	// Output: hello from afar
}
