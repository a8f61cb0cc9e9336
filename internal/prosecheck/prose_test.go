// Package prosecheck keeps phrases that make readers stop out of the folders that
// are written in plain English. It has tests only.
package prosecheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// clean lists the folders to check, relative to the module, without subfolders.
// Add a folder when its comments, error texts and documents are clean.
var clean = []string{
	"cmd/kad", "examples/echo", "examples/hello", "examples/routing", "internal/background",
	"internal/bench", "internal/console", "internal/control", "internal/field", "internal/filelock",
	"internal/lan", "internal/lookup", "internal/natlab", "internal/natlab/cmd/natlab", "internal/peerkey",
	"internal/peerref", "internal/portmap", "internal/prosecheck", "internal/publish",
	"internal/punch", "internal/reach", "internal/relay", "internal/search", "internal/sim", "internal/simnet", "internal/swarm",
	"internal/transfer", "internal/traversal", "nodetest", "peerstore", "quic", "routing", "wire",
}

// A phrase is a pattern of words and the better term. Matching ignores case.
type phrase struct {
	pattern *regexp.Regexp
	better  string
}

var phrases = []phrase{
	word(`(some|no|every|any)body`, "the peer, no peer, each peer, any peer"),
	word(`whom|whoever`, "name the actor: the peer, the caller, the holder"),
	word(`who (is|was|has|calls?|comes?|came|dials?|asks?|answers?|waits?|wants?|knows|sends?|stores?|publishes)`, "the caller, the asker, the holder; or: a peer that …"),
	word(`of what|what (comes|came|goes|stands|lasts)`, "a noun: the packet, the reply, the record"),
	word(`in vain`, "without success"),
	word(`anew`, "again"),
	word(`lest`, "so that … not"),
	word(`at hand`, "available, current"),
	word(`for good`, "finally, permanently"),
	word(`as it were|by and by|hence|therein|thereof|whence`, "leave it out"),
	word(`of (ours|theirs|our own)`, "our …"),
	word(`nothing but|none but|no other than|but for`, "only, except"),
	word(`(is|are|was|were) (not )?to be \w+ed`, "must be …, will be …"),
	word(`does? well to`, "should"),
}

func word(pattern, better string) phrase {
	return phrase{regexp.MustCompile(`(?i)\b(` + pattern + `)\b`), better}
}

// find calls report for each phrase in text with its offset in lines.
func find(text string, report func(line int, found string, p phrase)) {
	for i, line := range strings.Split(text, "\n") {
		for _, p := range phrases {
			if found := p.pattern.FindString(line); found != "" {
				report(i, found, p)
			}
		}
	}
}

func TestCleanFoldersStayClean(t *testing.T) {
	root := os.DirFS("../..")
	for _, folder := range clean {
		files, err := fs.ReadDir(root, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := folder + "/" + f.Name()
			if name == "internal/prosecheck/prose_test.go" { // it lists the phrases
				continue
			}
			at := func(line int, found string, p phrase) {
				t.Errorf("%s:%d: %q: better: %s", name, line, found, p.better)
			}
			switch filepath.Ext(name) {
			case ".md", ".proto":
				b, err := fs.ReadFile(root, name)
				if err != nil {
					t.Fatal(err)
				}
				find(string(b), func(i int, found string, p phrase) { at(i+1, found, p) })
			case ".go":
				checkGo(t, name, at)
			}
		}
	}
}

// checkGo checks the comments and error texts of one Go file.
func checkGo(t *testing.T, name string, report func(line int, found string, p phrase)) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "../../"+name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	check := func(pos token.Pos, text string) {
		first := files.Position(pos).Line
		find(text, func(i int, found string, p phrase) { report(first+i, found, p) })
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			check(c.Pos(), c.Text)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !isErrorConstructor(call.Fun) {
			return true
		}
		for _, arg := range call.Args {
			if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					check(lit.Pos(), text)
				}
			}
		}
		return true
	})
}

// isErrorConstructor reports whether f is errors.New or fmt.Errorf.
func isErrorConstructor(f ast.Expr) bool {
	s, ok := f.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && (x.Name == "errors" && s.Sel.Name == "New" || x.Name == "fmt" && s.Sel.Name == "Errorf")
}

func TestPhrasesAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"// Nobody answers.\n// It is tried anew.": 2,
		"// It belongs to the one WHO CALLS.":      1,
		"// The caller retries once.":              0,
		"// A somebodyish word is not a match.":    0,
	} {
		got := 0
		find(text, func(int, string, phrase) { got++ })
		if got != want {
			t.Errorf("%q: %d phrases, want %d", text, got, want)
		}
	}
}
