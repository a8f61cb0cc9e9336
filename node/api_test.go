package node

import (
	"bytes"
	"flag"
	"go/ast"
	gobuild "go/build"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateAPI = flag.Bool("api.update", false, "write the exported API of the public packages to testdata/api")

// publicPackages are those that programs outside this module may import.
var publicPackages = []string{"routing", "wire", "quic", "peerstore", "node", "nodetest"}

// A change of the exported API is a decision: it shows as a change of a file in
// testdata/api. To make one, run
//
//	go test ./node -run TestExportedAPI -api.update
//
// and tell the users in CHANGELOG.md.
func TestExportedAPI(t *testing.T) {
	for _, name := range publicPackages {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "api", name+".txt")
			got := exportedAPI(t, filepath.Join("..", name))
			if *updateAPI {
				if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("the exported API has changed (-before +now). If that is intended: go test ./node -run TestExportedAPI -api.update\n%s", diff)
			}
		})
	}
}

// exportedAPI returns the exported declarations of the package in a folder as it is on
// Linux, without comments and bodies, in alphabetical order.
func exportedAPI(t *testing.T, folder string) []byte {
	t.Helper()
	on := gobuild.Default
	on.GOOS, on.GOARCH = "linux", "amd64"
	pkg, err := on.ImportDir(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range pkg.GoFiles {
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(f)
		for _, d := range f.Decls {
			for _, one := range split(d) {
				all = append(all, printed(t, files, one))
			}
		}
	}
	slices.Sort(all)
	return []byte(strings.Join(all, "\n") + "\n")
}

// split returns the parts of a declaration that change independently: each type of a
// group, but all constants of one, whose values may depend on their order.
func split(d ast.Decl) (parts []ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && !ast.IsExported(receiver(d.Recv.List[0].Type)) {
			return nil // programs cannot name its type
		}
		d.Body = nil
	case *ast.GenDecl:
		switch d.Tok {
		case token.IMPORT:
			return nil
		case token.TYPE:
			for _, s := range d.Specs {
				parts = append(parts, &ast.GenDecl{Tok: d.Tok, Specs: []ast.Spec{s}})
			}
			return parts
		}
	}
	return []ast.Decl{d}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func printed(t *testing.T, files *token.FileSet, d ast.Decl) string {
	t.Helper()
	var b bytes.Buffer
	if err := format.Node(&b, files, d); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "\n\n", "\n") // which depend on where comments were
}

// A check that could not fail would be none.
func TestExportedAPISeesAChange(t *testing.T) {
	folder := t.TempDir()
	api := func(source string) string {
		if err := os.WriteFile(filepath.Join(folder, "a.go"), []byte("package a\n"+source), 0o666); err != nil {
			t.Fatal(err)
		}
		return string(exportedAPI(t, folder))
	}
	before := api("type T struct{ A int; b int }\nfunc (T) M(x int) {}\nfunc F() {}\nconst C = 1")
	for change, source := range map[string]string{
		"a field's type":      "type T struct{ A int8; b int }\nfunc (T) M(x int) {}\nfunc F() {}\nconst C = 1",
		"a method's argument": "type T struct{ A int; b int }\nfunc (T) M(x int8) {}\nfunc F() {}\nconst C = 1",
		"a missing function":  "type T struct{ A int; b int }\nfunc (T) M(x int) {}\nconst C = 1",
		"a constant's value":  "type T struct{ A int; b int }\nfunc (T) M(x int) {}\nfunc F() {}\nconst C = 2",
	} {
		if api(source) == before {
			t.Errorf("%s makes no difference", change)
		}
	}
	hidden := "type T struct{ A int; c string }\nfunc (T) M(x int) { println() }\nfunc F() {}\nfunc g() {}\nconst C = 1\nvar v int\ntype h int\nfunc (h) M() {}"
	if api(hidden) != before {
		t.Errorf("an unexported change shows:\n%s", api(hidden))
	}
}
