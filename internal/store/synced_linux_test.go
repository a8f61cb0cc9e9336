package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// Everything that Put, Save and SaveAll acknowledge is on the disk: all earlier writes to the
// file are synced. strace verifies it by tracing system calls. An acknowledgement costs two syncs, of the pages
// and of the head, and a third when the file grows.
func TestAcknowledgedIsSynced(t *testing.T) {
	if d, _ := newDisk(t, Limits{}); d.db.NoSync || d.db.NoGrowSync {
		t.Error("a store is opened without sync")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace, which shows what a process syncs, is not installed")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	child := exec.Command(strace, "-f", "-y", "-s", "64", "-o", trace,
		"-e", "trace=write,pwrite64,fsync,fdatasync", os.Args[0], "-test.run=^TestAcknowledge$")
	child.Env = append(os.Environ(), "KADQUIC_ACKNOWLEDGE="+filepath.Join(t.TempDir(), "store"))
	if out, err := child.CombinedOutput(); err != nil {
		if b, _ := os.ReadFile(trace); len(b) == 0 {
			t.Skipf("strace cannot trace here: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ack := regexp.MustCompile(`write\(1<.*"acknowledged (.*)\\n"`)
	acks, writes, syncs, dirty := 0, 0, 0, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if m := ack.FindStringSubmatch(line); m != nil {
			acks++
			if m[1] != "open" && (writes == 0 || dirty || syncs < 2 || syncs > 3) {
				t.Errorf("%s is acknowledged after %d writes and %d syncs, some of it not synced: %v", m[1], writes, syncs, dirty)
			}
			writes, syncs = 0, 0
		}
		switch {
		case strings.Contains(line, "pwrite64(") && strings.Contains(line, "/store>"):
			writes++
			dirty = true
		case strings.Contains(line, "sync(") && strings.HasSuffix(line, "= 0"), strings.Contains(line, "sync resumed>") && strings.HasSuffix(line, "= 0"):
			syncs++
			dirty = false
		}
	}
	if acks != 12 {
		t.Errorf("%d acknowledgements were traced, want 12", acks)
	}
}

// TestAcknowledge is the program that TestAcknowledgedIsSynced traces.
func TestAcknowledge(t *testing.T) {
	path := os.Getenv("KADQUIC_ACKNOWLEDGE")
	if path == "" {
		t.Skip("run by TestAcknowledgedIsSynced")
	}
	acknowledge := func(what string) { os.Stdout.WriteString("acknowledged " + what + "\n") }
	d := mustOpen(t, path, Limits{}, noon)
	defer d.Close()
	acknowledge("open")
	for i := range 5 {
		wantPut(t, d, noon, open(t, i, 0, 1, after(time.Hour), fmt.Sprint("value ", i)), wire.CodeOK)
		acknowledge("put")
	}
	for i := range 5 {
		if err := d.Save(fmt.Sprint("state ", i), []byte("data")); err != nil {
			t.Fatal(err)
		}
		acknowledge("save")
	}
	if err := d.SaveAll(State{"a", []byte("x")}, State{"b", []byte("y")}, State{"a", []byte("z")}); err != nil {
		t.Fatal(err)
	}
	acknowledge("all")
	if b, err := d.Saved("a"); err != nil || string(b) != "z" {
		t.Errorf("saved %q, %v", b, err)
	}
}
