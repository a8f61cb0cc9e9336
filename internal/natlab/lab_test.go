package natlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gone waits until a process is no more, or only to be waited for.
func gone(t *testing.T, pid int) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("process %d lives: %s", pid, stat)
		}
	}
}

// sleep starts a program with a child on a host, and returns the child's process ID. The test
// must outlive the lab, which ends them.
func sleep(t *testing.T, h *Host) int {
	t.Helper()
	cmd := h.Command(context.Background(), "sh", "-c", "sleep 1000 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	return pid
}

func TestTheEndEndsAllProcesses(t *testing.T) {
	t.Parallel()
	var pid int
	t.Run("lab", func(inner *testing.T) { pid = sleep(t, New(inner).Public("a")) })
	gone(t, pid)
}

func TestLabsAreApart(t *testing.T) {
	t.Parallel()
	one, other := New(t), New(t) // with the same names and addresses
	a, b := listen(t, one.Public("a"), "udp4"), listen(t, other.Public("a"), "udp4")
	c := listen(t, one.Public("c"), "udp4")
	if a.host.IP4() != b.host.IP4() {
		t.Fatalf("%v and %v", a.host.IP4(), b.host.IP4())
	}
	stray := c.send(netip.AddrPortFrom(b.host.IP4(), b.port()))
	if got, ok := a.await(c.send(a.addr())); !ok {
		t.Errorf("a got %v", got)
	}
	if p, ok := b.receive(time.Now().Add(grace)); ok {
		t.Errorf("%q crossed from one lab to the other as %q", stray, p.data)
	}
}

// What a test sees that cannot have a lab.
func TestSkipsWithAReason(t *testing.T) {
	t.Setenv("PATH", "")
	err := missingTools("ip", "nft")
	if err == nil || !strings.Contains(err.Error(), "iproute2") {
		t.Errorf("the reason is %v", err)
	}
}

// A subtest that needs a tool which is not installed skips, and its siblings go on.
func TestSubtestWithoutItsToolSkips(t *testing.T) {
	lab := New(t)
	var skipped, after bool
	t.Run("needs miniupnpd", func(t *testing.T) {
		t.Setenv("PATH", pathWithout(t, "miniupnpd"))
		t.Cleanup(func() { skipped = t.Skipped() })
		lab.Use(t)
		lab.NAT("mapper", Linux, Options{IGD: true})
		t.Error("there is a NAT that maps ports, without miniupnpd")
	})
	t.Run("needs no more than a lab", func(t *testing.T) {
		lab.Use(t)
		lab.NAT("plain", Linux)
		after = true
	})
	if !skipped || !after {
		t.Errorf("the first was skipped %v, the second ran %v", skipped, after)
	}
}

// pathWithout returns a PATH with the tools of a lab but one.
func pathWithout(t *testing.T, tool string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"ip", "nft", "nsenter", "miniupnpd"} {
		if at, err := exec.LookPath(name); err == nil && name != tool {
			if err := os.Symlink(at, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestString(t *testing.T) {
	t.Parallel()
	lab := New(t)
	lab.Public("boot")
	lab.Home("alice", Carrier)
	text := lab.String()
	for _, want := range []string{"boot", "public", "25.1.0.1", "alice", "behind alice-nat", "100.64.", "nsenter"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
