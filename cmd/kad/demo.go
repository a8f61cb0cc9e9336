package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) demoCommand() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "demo [KEY=VALUE | VALUE]…",
		Short: "See a whole network at work on this machine",
		Long: `Demo starts a network of real nodes on this machine, each with an identity and a
UDP socket of its own, stores values in it, finds them from other nodes, kills
30 % of the nodes without a goodbye and finds the values again. It succeeds only
if every value came back right each time.`,
		Example: `  kad demo
  kad demo -n 100 colour=blue "a value alone is stored under a number"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 3 || n > maxFleet {
				return usagef("-n is %d, want 3 to %d", n, maxFleet)
			}
			items, err := demoItems(args)
			if err != nil {
				return err
			}
			return a.demo(cmd.Context(), n, items)
		},
	}
	cmd.Flags().IntVarP(&n, "nodes", "n", 20, "`NUMBER` of nodes")
	return cmd
}

// A demoItem is a value the demonstration stores.
type demoItem struct {
	name  string
	key   routing.Key
	value []byte
}

func demoItems(args []string) ([]demoItem, error) {
	if len(args) == 0 {
		args = []string{"hello=world", "answer=42", "gruß=Grüße aus dem Netz"}
	}
	items := make([]demoItem, 0, len(args))
	seen := make(map[string]bool)
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			name, value = strconv.Itoa(i+1), arg
		}
		if name == "" || seen[name] {
			return nil, usagef("%q: each value needs a key of its own before the =", arg)
		}
		if len(value) > wire.MaxValue {
			return nil, usagef("the value of %q has %d bytes; at most %d can be stored", name, len(value), wire.MaxValue)
		}
		seen[name] = true
		items = append(items, demoItem{name, routing.KeyOf(name), []byte(value)})
	}
	return items, nil
}
