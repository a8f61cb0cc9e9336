package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/quic"
)

// run runs the program to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "KADQUIC_BE_CHAT=1", "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), complaint.String(), cmd.ProcessState.ExitCode()
}

// Faults of the command line exit with 2 and one line that says what is wrong; others
// with 1.
func TestExitCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"--help":               {0, ""},
		"--nonsense":           {2, "-nonsense"},
		"--name":               {2, "-name"},
		"--room=":              {2, "--room needs a value"},
		"--name=":              {2, "--name needs a value"},
		"--downloads=":         {2, "--downloads needs a value"},
		"--key=":               {2, "--key needs a value"},
		"--listen=":            {2, "-listen"},
		"--listen=here":        {2, "here"},
		"--listen=/ip4/::":     {2, "/ip4/::"},
		"--bootstrap=":         {2, "-bootstrap"},
		"--bootstrap=there":    {2, "there"},
		"bob":                  {2, "bob"},
		"--room=tea bob":       {2, "bob"},
		"--downloads=" + file:  {1, file},
		"--key=" + file + "/x": {1, file},
	} {
		stdout, stderr, code := run(t, strings.Fields(args)...)
		if code != want.code || !strings.Contains(stderr, want.says) {
			t.Errorf("chat %s exits with %d, want %d:\n%s", args, code, want.code, stderr)
		}
		if lines := strings.Count(stderr, "\n"); lines != want.code {
			t.Errorf("chat %s complains in %d lines:\n%s", args, lines, stderr)
		}
		if strings.Contains(stdout, "-downloads") != (args == "--help") {
			t.Errorf("chat %s shows\n%s", args, stdout)
		}
	}
}

// Scripts find the bare ticket in the first line.
func TestTicketIsTheFirstLine(t *testing.T) {
	alice := start(t, "--name=alice")
	alice.ticket()
	alice.quit()
	if !regexp.MustCompile(`^12D3KooW\w+@/\S+\n$`).MatchString(alice.all()) {
		t.Errorf("shown:\n%s", alice.all())
	}
}

// A chat whose bootstrap does not answer goes on trying.
func TestBootstrapThatIsDead(t *testing.T) {
	t.Parallel()
	key, err := quic.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := func(listen ma.Multiaddr) *node.Node {
		n, err := node.New(node.Config{Listen: []ma.Multiaddr{listen}, Key: key})
		if err == nil {
			err = n.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	listen, err := ma.NewMultiaddr("/ip4/127.0.0.1/udp/0/quic-v1")
	if err != nil {
		t.Fatal(err)
	}
	dead := bootstrap(listen)
	addr := dead.Addrs()[0]
	dead.Close()
	alice := join(t, "--name=alice", "--bootstrap="+addr.String())
	alice.want(`\* not in the network yet, and trying on: .*`)
	alice.ticket()
	alice.say("/peers") // it is there for its user
	alice.want(`\* nobody is here yet`)
	listen, _ = ma.SplitLast(addr)
	bootstrap(listen)
	alice.want(`\* in the network now`)
	alice.quit()
}
