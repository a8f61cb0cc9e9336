//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A SIGHUP, which comes when the terminal closes, ends a node as an interrupt does;
// under nohup, which ignores it, the node stays.
func TestHangup(t *testing.T) {
	// What ignores SIGHUP hands that on to its children: these tests may run under nohup.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	for name, ignored := range map[string]bool{"terminal": false, "nohup": true} {
		t.Run(name, func(t *testing.T) {
			kad, data := command(t), filepath.Join(t.TempDir(), "D")
			var under []string
			if ignored {
				under = []string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}
			}
			d := launch(t, kad, data, under...)
			d.wait(t, &d.out, addrLine)
			if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if ignored {
				for range 3 { // each takes longer than a signal
					if out, err := exec.Command(kad, "status", "--data", data).CombinedOutput(); err != nil {
						t.Fatalf("status after SIGHUP: %v\n%s", err, out)
					}
				}
				if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-d.ended:
			case <-time.After(patience):
				t.Fatal("still there")
			}
			if d.result != nil {
				t.Errorf("kad up ended with %v", d.result)
			}
			if _, err := os.Lstat(filepath.Join(data, "control.sock")); err == nil {
				t.Error("the control socket is still there")
			}
		})
	}
}

// A node goes on when the readers of its output go away, whatever it has to say.
func TestBrokenPipe(t *testing.T) {
	kad, data := command(t), filepath.Join(t.TempDir(), "D")
	for name, args := range map[string][]string{"text": nil, "json": {"--json"}, "log": {"-v"}} {
		t.Run(name, func(t *testing.T) {
			up := append([]string{"up", "--no-lan", "--no-portmap", "--data", data, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"}, args...)
			cmd := exec.Command(kad, up...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			errs, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			defer func() {
				cmd.Process.Kill()
				<-ended
			}()
			addr := firstAddr(t, out)
			go func() { ended <- cmd.Wait() }()
			out.Close()
			errs.Close()
			// Each of these has something to tell, the first on a closed pipe.
			for range 3 {
				b, err := exec.Command(kad, "get", "--bootstrap", addr, "no such key").CombinedOutput()
				if !strings.Contains(string(b), "not found") {
					t.Fatalf("%v\n%s", err, b)
				}
			}
			home := t.TempDir()
			second := launchArgs(t, []string{kad, "up", "--no-lan", "--no-portmap", "--data", home, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--bootstrap", addr}, home)
			second.wait(t, &second.out, joinedLine)
			if b, err := exec.Command(kad, "status", "--data", data).CombinedOutput(); err != nil {
				t.Fatalf("the node is gone: %v\n%s", err, b)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			err = <-ended
			ended <- err
			if err != nil {
				t.Errorf("kad up ended with %v", err)
			}
		})
	}
}

var joinedLine = regexp.MustCompile("joined the network")

// firstAddr reads the output of kad up until it names an address.
func firstAddr(t *testing.T, out io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := addrLine.FindStringSubmatch(lines.Text()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("no address: %v", lines.Err())
	return ""
}
