// Hello is one node, alone in its network: it stores "World" under the SHA3-256
// of "Hello" and reads it back.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	n, err := node.New(node.Config{Network: "hello", NoPortMapping: true}) // it needs no router
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	defer n.Close()

	key := routing.KeyOf("Hello")
	stored, err := n.Put(ctx, key, []byte("World"), nil) // returns once it is stored
	if err != nil {
		return err
	}
	fmt.Printf("stored on %d of %d\n", stored.Count, stored.Of)

	value, err := n.Get(ctx, key, nil)
	if err != nil {
		return err
	}
	fmt.Printf("Hello %s\n", value.Data)
	return nil
}
