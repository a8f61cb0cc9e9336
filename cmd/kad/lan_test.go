package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// Machines on one LAN that has no internet find each other, with nothing configured.
func TestUpFindsTheLAN(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t)
	home := lab.NAT("home", natlab.Linux, natlab.Options{IPv6: true})
	home.Cut()
	kad := command(t)
	room := func(name string) *inLAN {
		return &inLAN{t, lab.Host(name, home), kad, filepath.Join(t.TempDir(), name), nil}
	}
	alice, bob, hermit := room("alice"), room("bob"), room("hermit")
	hermit.up("--no-lan")
	alice.up()
	bob.up()
	for _, r := range []*inLAN{alice, bob} {
		r.await(`(?m)\(1 known\)$`)
	}
	if got, want := alice.run("put", "greeting", "hello world"), "stored on 2 of 2\n"; got != want {
		t.Errorf("alice puts: %q, want %q", got, want)
	}
	if got := bob.run("get", "greeting"); strings.TrimSpace(got) != "hello world" {
		t.Errorf("bob gets: %q", got)
	}
	// Peers find bob again after he has changed his network and lost his peers.
	bob.down()
	if err := os.Remove(filepath.Join(bob.data, "node.db")); err != nil {
		t.Fatal(err)
	}
	bob.up("--listen", "/ip4/"+bob.host.IP4().String()+"/udp/9999/quic-v1")
	bob.await(`(?m)\(1 known\)$`)
	if got := bob.run("get", "greeting"); strings.TrimSpace(got) != "hello world" {
		t.Errorf("bob, back again, gets: %q", got)
	}
	if text, _ := hermit.daemon.out.state(); strings.Contains(text, "known)") {
		t.Errorf("who does not look is met:\n%s", text)
	}
	for _, r := range []*inLAN{alice, bob, hermit} {
		r.down()
	}
}

// An inLAN is a machine of a LAN, and its kad up.
type inLAN struct {
	t      *testing.T
	host   *natlab.Host
	kad    string
	data   string
	daemon *daemon
}

func (r *inLAN) command(args ...string) *exec.Cmd {
	cmd := r.host.Command(r.t.Context(), r.kad, append(args, "--data", r.data)...)
	cmd.Env = []string{"HOME=" + r.data, "PATH=" + os.Getenv("PATH"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	return cmd
}

func (r *inLAN) up(args ...string) {
	r.t.Helper()
	d := &daemon{cmd: r.command(append([]string{"up"}, args...)...), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	if err := d.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		d.result = d.cmd.Wait()
		close(d.ended)
	}()
	r.t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.ended
	})
	r.daemon = d
	r.await("peer ID")
}

// await waits until the daemon has said so.
func (r *inLAN) await(pattern string) {
	r.t.Helper()
	r.daemon.wait(r.t, &r.daemon.out, regexp.MustCompile(pattern))
}

// down interrupts the daemon and waits for its end.
func (r *inLAN) down() {
	r.t.Helper()
	r.daemon.cmd.Process.Signal(os.Interrupt)
	select {
	case <-r.daemon.ended:
	case <-time.After(patience):
		r.daemon.fatal(r.t, "still there %v after an interrupt", patience)
	}
	if r.daemon.result != nil {
		text, _ := r.daemon.err.state()
		r.t.Errorf("kad up ended with %v:\n%s", r.daemon.result, text)
	}
}

func (r *inLAN) run(args ...string) string {
	r.t.Helper()
	out, err := r.command(args...).CombinedOutput()
	if err != nil {
		r.t.Errorf("kad %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func TestOnlyLoopback(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   bool
	}{
		{nil, false}, // every interface
		{[]string{"/ip4/127.0.0.1/udp/0/quic-v1"}, true},
		{[]string{"/ip6/::1/udp/0/quic-v1", "/ip4/127.0.0.2/udp/1/quic-v1"}, true},
		{[]string{"/ip4/0.0.0.0/udp/0/quic-v1"}, false},
		{[]string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/192.168.1.5/udp/0/quic-v1"}, false},
	} {
		addrs, err := listenAddrs(c.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := onlyLoopback(addrs); got != c.want {
			t.Errorf("%q: %v", c.listen, got)
		}
	}
}
