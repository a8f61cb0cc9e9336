package node

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What the snippets of README.md import, by the names that they use.
var readmeImports = map[string]string{
	"bufio": `"bufio"`, "context": `"context"`, "fmt": `"fmt"`, "io": `"io"`, "time": `"time"`,
	"ma":      `ma "github.com/multiformats/go-multiaddr"`,
	"node":    `"github.com/kadquic/kadquic/node"`,
	"routing": `"github.com/kadquic/kadquic/routing"`,
	"wire":    `"github.com/kadquic/kadquic/wire"`,
}

// readmeMain runs the functions that README.md defines.
const readmeMain = `
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := errors.New("no such snippet")
	switch os.Args[1] {
	case "serve":
		err = serve(ctx)
	case "talk":
		err = talk(ctx, ma.StringCast(os.Args[2]))
	case "nearest":
		err = nearest(ctx, routing.KeyOf("self"), routing.KeyOf("target"), []string{"a.example"},
			func(ctx context.Context, host string) ([]routing.Contact[string], error) {
				if host != "a.example" {
					return nil, nil
				}
				return []routing.Contact[string]{{Key: routing.KeyOf("b.example"), Addr: "b.example"}}, nil
			})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

// Every Go snippet of README.md compiles as it stands, and does what it says. Only the
// nodes keep from asking this machine's router for a port.
func TestReadmeSnippets(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs a program")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	for _, s := range snippets {
		program.WriteString(s[1] + "\n")
	}
	if len(snippets) != 3 {
		t.Errorf("README.md has %d Go snippets, want 3: run the new one here", len(snippets))
	}
	body := program.String() + readmeMain
	imports := "\t\"errors\"\n\t\"os\"\n\t\"os/signal\"\n"
	for name, path := range readmeImports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(body) {
			imports += "\t" + path + "\n"
		}
	}
	body = strings.ReplaceAll(body, "node.Config{", "node.Config{NoPortMapping: true, ")
	body = strings.ReplaceAll(body, ", }", "}")
	binary := buildOverlay(t, "package main\n\nimport (\n"+imports+")\n\n"+body)

	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", args[0], err, out)
		}
		return string(out)
	}
	server := exec.Command(binary, "serve")
	server.Stderr = os.Stderr
	pipe, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer time.AfterFunc(2*time.Minute, func() { server.Process.Kill() }).Stop()
	defer server.Process.Kill()
	addr, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil {
		t.Fatalf("serve prints no address: %v", err)
	}
	if got, want := run("talk", strings.TrimSpace(addr)), "hello\nstored on 2 of 2\nhello world\n"; got != want {
		t.Errorf("talk prints %q, want %q", got, want)
	}
	if got := strings.Fields(run("nearest")); len(got) != 2 {
		t.Errorf("nearest prints %q, want two hosts", got)
	}
}

// The commands by which README.md has a module import the checkout do so.
func TestReadmeImport(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?s)```sh\n(go mod edit.*?)```").FindStringSubmatch(string(text))
	if commands == nil {
		t.Fatal("README.md does not say how to import the module")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":  "module example.com/mine\n\ngo 1.26\n",
		"main.go": "package main\n\nimport _ \"github.com/kadquic/kadquic/node\"\n\nfunc main() {}\n",
	}
	script := strings.ReplaceAll(commands[1], "../kadquic", root)
	do := func(shell string) {
		t.Helper()
		cmd := exec.Command("sh", "-ec", shell)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			if strings.Contains(string(out), "dial tcp") || strings.Contains(string(out), "module lookup disabled") {
				t.Skipf("the module proxy is not reached: %s", out)
			}
			t.Fatalf("%s: %v\n%s", shell, err, out)
		}
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here")
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(files["go.mod"]), 0o600); err != nil {
		t.Fatal(err)
	}
	do(script) // before there is code
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(files["main.go"]), 0o600); err != nil {
		t.Fatal(err)
	}
	do("go mod tidy && go vet .") // and once there is
}

// buildOverlay compiles a program that lies nowhere in the repository but may import its
// packages, and returns where the binary is.
func buildOverlay(t *testing.T, program string, flags ...string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	binary = filepath.Join(dir, "program.exe") // a name that runs everywhere
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	plan, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "zz_program", "main.go"): source}})
	for file, text := range map[string][]byte{source: []byte(program), overlay: plan} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"build", "-buildvcs=false", "-overlay=" + overlay, "-o=" + binary}, flags...)
	run(t, append(args, "./zz_program")...)
	return binary
}

// Every Go snippet of docs/embedding.md is part of an example that runs as a test.
func TestEmbeddingSnippets(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	flat := func(code string) string { // without indentation
		return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(strings.TrimSpace(code), "")
	}
	examples := flat(read("node/example_test.go") + read("nodetest/example_test.go"))
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("docs/embedding.md"), -1)
	if len(snippets) == 0 {
		t.Error("no snippets")
	}
	for _, s := range snippets {
		if !strings.Contains(examples, flat(s[1])) {
			t.Errorf("this snippet is in no example:\n%s", s[1])
		}
	}
}
