package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// maxFleet keeps a mistyped -n from taking the machine.
const maxFleet = 1000

// ancestorSeeds are the nodes through which the testnet of kademlia-dht, the
// program that came before this one, was joined.
var ancestorSeeds = []int{0, 10, 20, 30, 40}

func (a *app) testnetCommand() *cobra.Command {
	var (
		n        int
		ancestor bool
	)
	cmd := &cobra.Command{
		Use:   "testnet",
		Short: "Drive a network on this machine by commands",
		Long: `Testnet starts nodes 0 to n-1 on loopback, joined through node 0, and reads
commands from standard input, one a line:

` + commandsHelp + `
From a pipe it ends at the end of input, with exit code 1 if a command failed.`,
		Example: `  kad testnet
  printf 'insert 3 "hello world" "big world"\nget 17 "hello world"\n' | kad testnet -n 50`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 1 || n > maxFleet {
				return usagef("-n is %d, want 1 to %d", n, maxFleet)
			}
			return a.testnet(cmd.Context(), n, ancestor)
		},
	}
	cmd.Flags().IntVarP(&n, "nodes", "n", 50, "`NUMBER` of nodes to start with")
	cmd.Flags().BoolVar(&ancestor, "ancestor", false, "join through nodes 0, 10, 20, 30 and 40, and kill these before the first command")
	return cmd
}

func (a *app) testnet(ctx context.Context, n int, ancestor bool) error {
	f := newFleet("testnet", 0, a.logger())
	defer f.close()
	seeds := []int{0}
	if ancestor {
		seeds = ancestorSeeds
	}
	start := time.Now()
	p := a.progress()
	err := f.start(ctx, n, seeds, func(joined int) { p.show("joined: %d of %d", joined, n) })
	p.clear()
	if err != nil {
		return err
	}
	if ancestor {
		for _, s := range seeds {
			if s >= n || n == 1 {
				break
			}
			m, err := f.member(s)
			if err == nil {
				err = f.kill(m)
			}
			if err != nil {
				return err
			}
		}
	}
	interactive := isTerminal(a.in)
	if interactive {
		a.remark("%s, joined in %s. \"help\" lists the commands.", plural(len(f.living()), "node"), took(time.Since(start)))
	}
	return a.repl(ctx, &shell{app: a, fleet: f}, interactive)
}

// repl runs each line that is read, until quit, the end of input or ctx's end.
func (a *app) repl(ctx context.Context, s *shell, interactive bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reader
	input := readLines(ctx, a.in)
	failed := false
	for number := 1; ; number++ {
		if interactive {
			fmt.Fprint(a.err, "> ")
		}
		line, err := input.next(ctx)
		switch {
		case errors.Is(err, io.EOF) && failed && !interactive:
			return errQuiet
		case errors.Is(err, io.EOF):
			if interactive {
				a.remark("") // the prompt's line
			}
			return nil
		case err != nil:
			return err
		}
		err = s.run(ctx, line)
		switch {
		case errors.Is(err, errQuit) && failed && !interactive:
			return errQuiet
		case errors.Is(err, errQuit):
			return nil
		case err != nil:
			failed = true
			if !interactive {
				err = fmt.Errorf("line %d: %w", number, err)
			}
			a.fail(err)
		}
	}
}

// An input is lines read by a goroutine, since a read from a terminal cannot be
// interrupted.
type input struct {
	lines chan string // closed at the end of input or a failure
	err   error       // why, once lines is closed
}

// readLines reads r line by line until ctx ends; by one read it may outlive it.
func readLines(ctx context.Context, r io.Reader) *input {
	in := &input{lines: make(chan string)}
	go func() {
		defer close(in.lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			select {
			case in.lines <- scanner.Text():
			case <-ctx.Done():
				in.err = ctx.Err()
				return
			}
		}
		in.err = io.EOF
		if err := scanner.Err(); err != nil {
			in.err = fmt.Errorf("standard input: %w", err)
		}
	}()
	return in
}

// next returns the next line, or [io.EOF] at the end.
func (in *input) next(ctx context.Context) (string, error) {
	select {
	case line, ok := <-in.lines:
		if !ok {
			return "", in.err
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// maxLine is the longest command: a value of the greatest length, every byte an
// escape, fits.
const maxLine = 64 << 10
