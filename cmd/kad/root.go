package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/wire"
)

// An app is one run of the command: its streams and its global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

	json         bool
	data         string // the profile's directory; empty: the default one
	bootstrap    []string
	network      string
	networkGiven bool          // by --network
	timeout      time.Duration // 0: none
	timeoutGiven bool          // by --timeout
	verbose      int

	started bool  // the command line was understood, a command runs
	outErr  error // the first failure to write a result

	outOptional bool // a failure to write to standard output is no failure of the command
}

// run executes one command line and returns the process's exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.outErr
	}
	if err == nil {
		return int(exitOK)
	}
	if !a.started { // cobra's own: an unknown command or flag, a wrong number of arguments
		err = &usageError{err}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	code := codeOf(err)
	if !errors.Is(err, errQuiet) {
		a.fail(err)
		if code == exitUsage && !a.json {
			a.note("See \"%s --help\".", cmd.CommandPath())
		}
	}
	return int(code)
}

func (a *app) root() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "kad",
		Short: "A Kademlia network over QUIC: run nodes, store values, find them",
		Long: `kad runs and uses nodes of a Kademlia network that talk QUIC.

Begin with "kad demo": a whole network at work on this machine. Then "kad up"
runs a node; the other commands work through it. On a machine, or with a
profile (--data), where none runs, give them the address that "kad up" prints,
by --bootstrap or in $KAD_BOOTSTRAP: they join its network for as long as they
take.

` + exitCodesHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			a.networkGiven = cmd.Flags().Changed("network")
			a.timeoutGiven = cmd.Flags().Changed("timeout")
			if err := checkFlags(cmd); err != nil {
				return err
			}
			if a.timeout < 0 {
				return usagef("--timeout is %v, want at least 0", a.timeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				a.version()
				return nil
			}
			cmd.SetOut(a.err)
			if err := cmd.Help(); err != nil {
				return err
			}
			return &usageError{errQuiet}
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %s", quoted(args[0]))
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "results as JSON, one object a line; on standard error, too")
	f.StringVar(&a.data, "data", "", "the profile's `DIR`: identity, records, control socket (default "+defaultDataHelp+")")
	f.StringArrayVar(&a.bootstrap, "bootstrap", nil, "join through the peer at this `MULTIADDR`, /ip4/…/udp/…/quic-v1/p2p/…; may be repeated (default: ask the node that runs on the profile; if there is none, $KAD_BOOTSTRAP)")
	f.StringVar(&a.network, "network", "main", "`NAME` of the network; networks of different names never mix")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "`TIME` allowed to one operation; 0: no limit. backup, restore and doctor have none unless it is given")
	f.CountVarP(&a.verbose, "verbose", "v", "log to standard error what goes on; twice for more")
	root.Flags().BoolVar(&version, "version", false, "show what this program was built from, as \"kad version\" does")

	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped 80 "))
	cobra.EnableCommandSorting = false // keep the order below
	root.SetHelpCommand(helpCommand())
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Networks:", []*cobra.Command{a.demoCommand(), a.upCommand(), a.testnetCommand()}},
		{"Values and peers:", []*cobra.Command{
			a.putCommand(), a.getCommand(), a.unpublishCommand(),
			a.provideCommand(), a.providersCommand(),
			a.durabilityCommand(), a.lookupCommand(), a.pingCommand(),
		}},
		{"The node of this profile:", []*cobra.Command{
			a.statusCommand(), a.netcheckCommand(), a.publishedCommand(), a.recordsCommand(),
			a.doctorCommand(), a.backupCommand(), a.restoreCommand(),
			a.idCommand(), a.keygenCommand(),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(a.benchCommand(), a.versionCommand())
	return root
}

// helpCommand is like cobra's, but its error names the unknown command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q", strings.Join(args, " "))
			}
			return about.Help()
		},
	}
}

// within runs one operation with the time that --timeout allows it. When that
// was over, the error is a *timeoutError.
func (a *app) within(ctx context.Context, operation func(context.Context) error) error {
	if a.timeout <= 0 {
		return operation(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := operation(limited)
	if err != nil && ctx.Err() == nil && (limited.Err() != nil || errors.Is(err, control.ErrTimeOver)) {
		return &timeoutError{a.timeout, err}
	}
	return err
}

// unhurried is like within, for long operations: only an explicit --timeout limits
// it.
func (a *app) unhurried(ctx context.Context, operation func(context.Context) error) error {
	if !a.timeoutGiven {
		return operation(ctx)
	}
	return a.within(ctx, operation)
}

// logger is nil, silence, without -v.
func (a *app) logger() *slog.Logger {
	if a.verbose == 0 {
		return nil
	}
	level := slog.LevelInfo
	if a.verbose > 1 {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}

// bootstrapVariable holds addresses of peers to join through, set apart by blanks or
// commas.
const bootstrapVariable = "KAD_BOOTSTRAP"

// bootstrapPeers are the peers to join through: --bootstrap, or else
// $KAD_BOOTSTRAP. Each is checked here, so that a mistake is told before
// anything is dialled.
func (a *app) bootstrapPeers() ([]ma.Multiaddr, error) {
	if len(a.bootstrap) > 0 {
		return a.bootstrapFlag()
	}
	return peerAddrs("$"+bootstrapVariable, strings.FieldsFunc(os.Getenv(bootstrapVariable), func(r rune) bool {
		return r == ',' || unicode.IsSpace(r)
	}))
}

// bootstrapFlag are the peers of --bootstrap alone.
func (a *app) bootstrapFlag() ([]ma.Multiaddr, error) { return peerAddrs("--bootstrap", a.bootstrap) }

// peerAddrs parses the addresses that a source, a flag or a variable, gives.
func peerAddrs(source string, given []string) ([]ma.Multiaddr, error) {
	peers := make([]ma.Multiaddr, 0, len(given))
	for _, s := range given {
		addr, err := peerAddr(s)
		if err != nil {
			return nil, usagef("%s: %w", source, err)
		}
		peers = append(peers, addr)
	}
	return peers, nil
}

// peerAddr parses the full address of a peer, its ID included.
func peerAddr(s string) (ma.Multiaddr, error) {
	addr, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, usagef("%q is not a multiaddr: %w", s, err)
	}
	if wire.IsCircuit(addr) { // which Connect takes, and a bootstrap list does not
		if _, err := wire.ParseCircuit(addr); err != nil {
			return nil, usagef("%w", err)
		}
		return addr, nil
	}
	at, id, err := wire.SplitPeer(addr)
	if err != nil {
		return nil, usagef("%w; want /ip4/…/udp/…/quic-v1/p2p/…, or ip6 or dns in place of ip4", err)
	}
	if id.IsZero() {
		return nil, usagef("address %q names no peer: it must end in /p2p/ and the peer's ID, as \"kad up\" prints it", s)
	}
	if at == "" {
		return nil, usagef("address %q says who, but not where: the whole address is what \"kad up\" prints", s)
	}
	return addr, nil
}
