package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, 50, "hello"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1. nearest to "hello": node 25, 33e4fc51…
	// 2. nearest to "hello": node 41, 32f63d69…
	// 3. nearest to "hello": node 10, 36055ab7…
}
