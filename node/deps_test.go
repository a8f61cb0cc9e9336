package node

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house. Each line is a package and all that it may import besides std: ours
// by folder, others by module. Imports point up in this text, down in the house:
// a line names only packages of the lines above it.
//
//	 cmd/kad            examples/…        nodetest
//	    │                   │                 │
//	 internal/control       │                 │       how commands speak to a node
//	    └─────────┬─────────┴─────────────────┘
//	              ▼
//	             node                                 composes the parts
//	  ┌───────────┼──────────┬──────────────┐
//	  ▼           ▼          ▼              ▼
//	search     publish   traversal        swarm       parts; none imports another
//	replica       │        │    │           │
//	responder     │        │    │           │
//	join          │        │    │           │
//	relay/client  │        │    │           │
//	relay/service │        │    │           │
//	rendezvous    │        │    │           │
//	ticket        │        │    │           │
//	  │           │        │    │           │
//	lookup        │      punch  │  reach    │   relay pure logic
//	  ▼           ▼             ▼           ▼
//	store      peerref      peerstore      quic ──► quic-go
//	  └───────────┴──────┬──────┴───────────┘
//	                     ▼
//	                   wire ──► routing ──► std, x/crypto/sha3
const house = `
	routing           golang.org/x/crypto
	internal/peerkey
	internal/background
	wire/pb           google.golang.org/protobuf
	wire              routing internal/peerkey google.golang.org/protobuf github.com/libp2p/go-msgio github.com/multiformats/go-multiaddr
	quic              internal/peerkey github.com/quic-go/quic-go github.com/multiformats/go-multiaddr golang.org/x/net golang.org/x/sys
	peerstore         routing wire
	internal/peerref  routing wire
	internal/lookup   routing wire internal/peerref
	internal/netgroup
	internal/store    routing wire internal/netgroup go.etcd.io/bbolt golang.org/x/sys
	internal/join     routing wire internal/background internal/lookup
	internal/responder routing wire internal/peerref internal/store
	internal/replica  routing wire internal/background internal/lookup internal/peerref internal/store golang.org/x/time
	internal/search   routing wire internal/background internal/lookup internal/store
	internal/publish  routing wire internal/background
	internal/relay    wire
	internal/portmap  golang.org/x/net github.com/libp2p/go-netroute
	internal/punch
	internal/reach    wire golang.org/x/time
	internal/swarm    routing wire quic peerstore golang.org/x/time
	internal/relay/client wire internal/background internal/peerref internal/reach internal/relay
	internal/relay/service wire internal/background internal/reach internal/relay
	internal/ticket wire internal/reach github.com/multiformats/go-multiaddr
	internal/rendezvous routing wire
	internal/traversal internal/background internal/punch internal/reach peerstore quic wire golang.org/x/time
	node              routing internal/peerkey internal/netgroup internal/background internal/swarm internal/publish internal/peerref internal/lookup internal/search internal/replica internal/responder internal/join wire quic peerstore internal/store internal/relay internal/relay/client internal/relay/service internal/ticket internal/rendezvous internal/portmap internal/traversal internal/reach github.com/multiformats/go-multiaddr golang.org/x/time
	internal/sim      routing wire internal/store
	internal/simnet   github.com/quic-go/quic-go
	nodetest          wire node internal/simnet github.com/multiformats/go-multiaddr
	internal/natlab   golang.org/x/sys
	internal/transfer wire
	internal/console  golang.org/x/term github.com/ergochat/readline
	internal/filelock
	internal/prosecheck
	internal/natlab/cmd/natlab internal/natlab
	internal/field
	internal/powerloss
	internal/lan      wire golang.org/x/net golang.org/x/time
	internal/bench    routing wire quic internal/store node github.com/quic-go/quic-go github.com/multiformats/go-multiaddr
	internal/control  routing wire node github.com/multiformats/go-multiaddr
	cmd/kad           routing wire quic internal/store node internal/bench internal/control internal/filelock internal/lan github.com/multiformats/go-multiaddr github.com/spf13/cobra github.com/spf13/pflag golang.org/x/sync golang.org/x/sys
	examples/chat     routing wire quic node internal/console internal/filelock internal/transfer github.com/multiformats/go-multiaddr
	examples/echo     wire node github.com/multiformats/go-multiaddr
	examples/hello    routing node
	examples/routing  routing
`

// What tests may import besides what their package may.
const testsMay = `
	routing wire internal/simnet internal/natlab
	github.com/google/go-cmp pgregory.net/rapid go.uber.org/goleak github.com/rogpeppe/go-internal
`

// Further imports of the tests of single packages.
const testsOfMay = `
	wire             wire/pb
	node             quic google.golang.org/protobuf github.com/quic-go/quic-go golang.org/x/net
	internal/search  internal/peerref
	internal/join    internal/peerref
	internal/simnet  github.com/quic-go/quic-go
	cmd/kad          internal/powerloss
	internal/console golang.org/x/sys
	internal/field   quic node internal/relay github.com/quic-go/quic-go github.com/multiformats/go-multiaddr
`

// The names under which two packages are imported everywhere.
var importNames = map[string]string{
	"github.com/quic-go/quic-go":           "quicgo", // quic is ours
	"github.com/multiformats/go-multiaddr": "ma",
}

const ours = "github.com/kadquic/kadquic/"

// lines splits a text into lines of words.
func lines(text string) (out [][]string) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

// allowed reports whether path is one of the packages or lies in one of the modules.
func allowed(path string, may []string) bool {
	return slices.ContainsFunc(may, func(m string) bool {
		if first, _, _ := strings.Cut(m, "/"); strings.Contains(first, ".") { // a module
			return path == m || strings.HasPrefix(path, m+"/")
		}
		return path == ours+m
	})
}

func isStd(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// run returns the output of a go command in the root of the repository.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, cmd.Stderr)
	}
	return string(out)
}

func TestImportsKeepToTheHouse(t *testing.T) {
	may, drawn := map[string][]string{}, []string{}
	for _, line := range lines(house) {
		for _, dep := range line[1:] {
			if first, _, _ := strings.Cut(dep, "/"); !strings.Contains(first, ".") && !slices.Contains(drawn, dep) {
				t.Errorf("the house lets %s import %s, which does not stand above it in the text", line[0], dep)
			}
		}
		drawn = append(drawn, line[0])
		may[line[0]] = line[1:]
	}
	tests := map[string][]string{}
	for _, line := range lines(testsOfMay) {
		tests[line[0]] = line[1:]
	}
	for _, line := range lines(testsMay) {
		for _, p := range drawn {
			tests[p] = append(tests[p], line...)
		}
	}
	d := json.NewDecoder(strings.NewReader(run(t, "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	for d.More() {
		var p struct{ ImportPath, Imports, TestImports, XTestImports any }
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath.(string), ours)
		if !slices.Contains(drawn, name) {
			t.Errorf("package %s has no place in the house: draw it", name)
			continue
		}
		check := func(imports any, may []string) {
			list, _ := imports.([]any)
			for _, dep := range list {
				if dep := dep.(string); !isStd(dep) && dep != ours+name && !allowed(dep, may) {
					t.Errorf("%s must not import %s", name, dep)
				}
			}
		}
		check(p.Imports, may[name])
		check(p.TestImports, append(may[name], tests[name]...))
		check(p.XTestImports, append(may[name], tests[name]...))
	}
}

func TestImportNames(t *testing.T) {
	err := filepath.WalkDir("..", func(file string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			want, ok := importNames[imported]
			if ok && (spec.Name == nil || spec.Name.Name != want) {
				t.Errorf("%s imports %s not as %s", file, imported, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// build compiles a program that lies nowhere in the repository but may import its
// packages, stripped, and returns its size in bytes and the modules linked into it.
func build(t *testing.T, program string) (size int64, modules []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	binary := buildOverlay(t, program, "-ldflags=-s -w")
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(run(t, "version", "-m", binary)) {
		if line[0] == "dep" {
			modules = append(modules, line[1])
		}
	}
	return info.Size(), modules
}

func TestNodeIsLight(t *testing.T) {
	size, modules := build(t, `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
)

func main() {
	ctx := context.Background()
	n, err := node.New(node.Config{})
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer n.Close()
	key := routing.KeyOf("hello")
	fmt.Println(n.Put(ctx, key, []byte("world"), nil))
	fmt.Println(n.Get(ctx, key, nil))
	fmt.Println(n.Nearest(ctx, key))
	fmt.Println(n.FindPeer(ctx, n.ID()))
	fmt.Println(n.Ping(ctx, n.ID()))
	fmt.Println(n.Dial(ctx, n.ID(), "/app/1"))
	fmt.Println(n.Listen("/app/1"))
	fmt.Println(n.Stats())
}
`)
	t.Logf("a program that uses only node is %.1f MB stripped and links %d modules:\n%s", float64(size)/1e6, len(modules), strings.Join(modules, "\n"))
	if size > 12e6 {
		t.Errorf("it is %d bytes, want at most 12 MB", size)
	}
	if len(modules) > 25 {
		t.Errorf("it links %d modules, want at most 25", len(modules))
	}
}

func TestRoutingStandsAlone(t *testing.T) {
	size, modules := build(t, `package main

import (
	"fmt"

	"github.com/kadquic/kadquic/routing"
)

func main() { fmt.Println(routing.NewTable(routing.KeyOf("self"), routing.TableOptions[string]{}).Len()) }
`)
	t.Logf("a program that uses only routing is %.1f MB stripped and links %v", float64(size)/1e6, modules)
	for _, m := range modules {
		if m != "golang.org/x/crypto" && m != "golang.org/x/sys" { // sys: x/crypto looks what the processor can
			t.Errorf("it links %s", m)
		}
	}
	for _, p := range strings.Fields(run(t, "list", "-deps", "./routing")) {
		if !isStd(p) && p != ours+"routing" && path.Dir(p) != "golang.org/x/crypto" && !strings.HasPrefix(p, "golang.org/x/sys/") {
			t.Errorf("routing depends on %s", p)
		}
	}
}
