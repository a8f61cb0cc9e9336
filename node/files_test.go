package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oneWay are the packages in which references between files run one way: whoever follows a
// call to another file never comes back to the first. A package enters this list once it has
// no cycle, and stays.
var oneWay = []string{
	"internal/background", "internal/console", "internal/filelock", "internal/join", "internal/lan", "internal/lookup",
	"internal/netgroup",
	"internal/peerkey", "internal/peerref", "internal/portmap", "internal/publish", "internal/punch",
	"internal/reach", "internal/relay/client", "internal/relay/service", "internal/rendezvous", "internal/ticket", "internal/replica", "internal/responder", "internal/search", "internal/swarm", "internal/transfer", "nodetest",
}

func TestFilesReferOneWay(t *testing.T) {
	for _, p := range loadPackages(t, oneWay) {
		refs, err := p.references()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cycles(refs) {
			t.Errorf("%s: these files refer to each other in a circle: %s", p.ImportPath, c)
		}
	}
}

// A listedPackage is a package as go list describes it.
type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string

	exports map[string]string // export data of all packages, by import path
}

// loadPackages lists packages, given by folder, with the export data of their imports.
func loadPackages(t *testing.T, folders []string) (all []listedPackage) {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles"}
	for _, f := range folders {
		args = append(args, "./"+f)
	}
	exports := make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(run(t, args...))); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if folder, ok := strings.CutPrefix(p.ImportPath, ours); ok && slices.Contains(folders, folder) {
			p.exports = exports
			all = append(all, p)
		}
	}
}

// references returns, for each file, the other files that declare what it uses: functions,
// methods, types, and variables and constants of the package. The receiver of a method is no
// reference, and neither is a call through an interface.
func (p listedPackage) references() (map[string][]string, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	receivers := make(map[token.Pos]bool)
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		for _, d := range f.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil {
				ast.Inspect(m.Recv, func(n ast.Node) bool {
					if n != nil {
						receivers[n.Pos()] = true
					}
					return true
				})
			}
		}
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if p.exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(p.exports[path])
	})}
	pkg, err := config.Check(p.ImportPath, fset, files, info)
	if err != nil {
		return nil, err
	}
	to := make(map[string]map[string]bool)
	for id, used := range info.Uses {
		if used.Pkg() != pkg || receivers[id.Pos()] {
			continue
		}
		if f, ok := used.(*types.Func); !ok && used.Parent() != pkg.Scope() {
			continue // a field, or local
		} else if ok && f.Signature().Recv() != nil && types.IsInterface(f.Signature().Recv().Type()) {
			continue
		}
		from, at := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(used.Pos()).Filename)
		if to[from] == nil {
			to[from] = make(map[string]bool)
		}
		if from != at {
			to[from][at] = true
		}
	}
	refs := make(map[string][]string)
	for from, all := range to {
		refs[from] = slices.Sorted(maps.Keys(all))
	}
	return refs, nil
}

// cycles returns the groups of files that reach each other, each as a text.
func cycles(refs map[string][]string) (all []string) {
	reached := make(map[string]map[string]bool)
	for from := range refs {
		seen := make(map[string]bool)
		for todo := refs[from]; len(todo) > 0; {
			at := todo[0]
			todo = todo[1:]
			if !seen[at] {
				seen[at] = true
				todo = append(slices.Clip(todo), refs[at]...)
			}
		}
		reached[from] = seen
	}
	done := make(map[string]bool)
	for _, from := range slices.Sorted(maps.Keys(refs)) {
		if done[from] || !reached[from][from] {
			continue
		}
		var group bytes.Buffer
		for _, other := range slices.Sorted(maps.Keys(reached[from])) {
			if !reached[other][from] {
				continue
			}
			done[other] = true
			var back []string
			for _, at := range refs[other] {
				if reached[at][from] {
					back = append(back, at)
				}
			}
			fmt.Fprintf(&group, "\n\t%s → %s", other, strings.Join(back, " "))
		}
		all = append(all, group.String())
	}
	return all
}

// A check that could not fail would be none.
func TestCyclesAreSeen(t *testing.T) {
	refs := map[string][]string{"a.go": {"b.go"}, "b.go": {"c.go", "d.go"}, "c.go": {"a.go"}, "d.go": {"e.go"}, "e.go": nil}
	if got := cycles(refs); len(got) != 1 || !strings.Contains(got[0], "c.go → a.go") || strings.Contains(got[0], "e.go") {
		t.Errorf("cycles: %q", got)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "package x\n\ntype T struct{ n int }\n\nfunc F() { new(T).m() }\n",
		"b.go": "package x\n\nfunc (t *T) m() { t.n = c }\n\nconst c = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	p := listedPackage{ImportPath: "x", Dir: dir, GoFiles: []string{"a.go", "b.go"}}
	got, err := p.references()
	if err != nil || !slices.Equal(got["a.go"], []string{"b.go"}) || len(got["b.go"]) > 0 {
		t.Errorf("references: %v, %v; a method refers to what it uses, not to its receiver", got, err)
	}
}
