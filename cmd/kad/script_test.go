package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kad": main})
}

// The scripts in testdata are the command as its users type it. Beside
// testscript's own commands they have
//
//	code N command args…   run it, want exit code N
//	up NAME args…          start kad up --no-lan --no-portmap, wait for its address, put it in $NAME
//	down NAME              interrupt it, want exit code 0; its output is in NAME.out, NAME.err
//	crash NAME             end it as a crash would
//	wait-out NAME regexp   wait until its standard output matches
//	wait-err NAME regexp   wait until its standard error matches
//	spoil FILE             overwrite its first bytes
//	silent NAME            put into $NAME a UDP port that does not answer
//	free NAME              put into $NAME a UDP port that is free, and stays so
//	capture NAME regexp    put what the group in regexp matches of the last standard output in $NAME
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "xdg"))
			env.Values[daemonsKey{}] = make(map[string]*daemon)
			return errors.Join(
				os.WriteFile(filepath.Join(env.WorkDir, "big.bin"), noise(5000), 0o666),
				os.WriteFile(filepath.Join(env.WorkDir, "toobig.bin"), noise(8193), 0o666),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     cmdCode,
			"up":       cmdUp,
			"down":     cmdDown,
			"crash":    cmdCrash,
			"wait-out": cmdWaitOut,
			"wait-err": cmdWaitErr,
			"capture":  cmdCapture,
			"spoil":    cmdSpoil,
			"silent":   cmdSilent,
			"free":     cmdFree,
		},
	})
}

// noise is n bytes of every value, newlines, zeros and no UTF-8 among them.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{'k', 'a', 'd'}).Read(b)
	return b
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME regexp")
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("standard output does not match %q", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// cmdSpoil overwrites the first bytes of a file.
func cmdSpoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil FILE")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(noise(200), 0)
	ts.Check(err)
}

// cmdSilent binds a UDP port that does not answer, and puts its number into an
// environment variable: silent NAME.
func cmdSilent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: silent NAME")
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	ts.Check(err)
	ts.Defer(func() { socket.Close() })
	ts.Setenv(args[0], strconv.Itoa(socket.LocalAddr().(*net.UDPAddr).Port))
}

// cmdFree finds a free UDP port for nodes that restart. It is below the ephemeral
// range, so that no other process gets it by chance.
func cmdFree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free NAME")
	}
	for range 1000 {
		at := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10_000 + rand.IntN(20_000)}
		if socket, err := net.ListenUDP("udp4", at); err == nil {
			socket.Close()
			ts.Setenv(args[0], strconv.Itoa(at.Port))
			return
		}
	}
	ts.Fatalf("no port is free")
}

// A daemon is a running kad up.
type daemon struct {
	cmd      *exec.Cmd
	out, err watched
	ended    chan struct{} // closed when it has
	result   error         // of Wait, once ended
}

type daemonsKey struct{}

func daemons(ts *testscript.TestScript) map[string]*daemon {
	return ts.Value(daemonsKey{}).(map[string]*daemon)
}

func namedDaemon(ts *testscript.TestScript, name string) *daemon {
	d := daemons(ts)[name]
	if d == nil {
		ts.Fatalf("there is no %s", name)
	}
	return d
}

// patience bounds every wait; the machine may be busy.
const patience = 2 * time.Minute

var addrLine = regexp.MustCompile(`(/ip4/127\.0\.0\.1/udp/[1-9][0-9]*/quic-v1/p2p/\w+)`)

func cmdUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: up NAME args…")
	}
	self, err := os.Executable()
	ts.Check(err)
	d := &daemon{cmd: exec.Command(self, append([]string{"up", "--no-lan", "--no-portmap"}, args[1:]...)...), ended: make(chan struct{})}
	d.cmd.Args[0] = "kad" // by which testscript.Main knows what to run
	d.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "KAD_BOOTSTRAP", "TMPDIR", "GOCOVERDIR"} {
		if v := ts.Getenv(name); v != "" {
			d.cmd.Env = append(d.cmd.Env, name+"="+v)
		}
	}
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	ts.Check(d.cmd.Start())
	go func() {
		d.result = d.cmd.Wait()
		close(d.ended)
	}()
	ts.Defer(func() {
		d.cmd.Process.Kill()
		<-d.ended
	})
	daemons(ts)[args[0]] = d
	ts.Setenv(args[0], d.wait(ts, &d.out, addrLine)[1])
}

// wait waits until w matches.
func (d *daemon) wait(t failer, w *watched, re *regexp.Regexp) []string {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		text, more := w.state()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-more:
		case <-d.ended:
			if text, _ := w.state(); re.MatchString(text) {
				continue
			}
			d.fatal(t, "kad up ended (%v) without %q", d.result, re)
		case <-deadline.C:
			d.fatal(t, "no %q within %v", re, patience)
		}
	}
}

// A failer is what ends a test: a script's or one of Go's.
type failer interface {
	Fatalf(format string, args ...any)
}

func (d *daemon) fatal(t failer, format string, args ...any) {
	out, _ := d.out.state()
	err, _ := d.err.state()
	t.Fatalf("%s\nstandard output:\n%s\nstandard error:\n%s", fmt.Sprintf(format, args...), out, err)
}

func cmdWaitOut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wait-out NAME regexp")
	}
	d := namedDaemon(ts, args[0])
	d.wait(ts, &d.out, regexp.MustCompile("(?m)"+args[1]))
}

func cmdWaitErr(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wait-err NAME regexp")
	}
	d := namedDaemon(ts, args[0])
	d.wait(ts, &d.err, regexp.MustCompile("(?m)"+args[1]))
}

func cmdDown(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: down NAME")
	}
	d := namedDaemon(ts, args[0])
	ts.Check(d.cmd.Process.Signal(os.Interrupt))
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.fatal(ts, "still there %v after an interrupt", patience)
	}
	if d.result != nil {
		d.fatal(ts, "kad up ended with %v", d.result)
	}
	out, _ := d.out.state()
	err, _ := d.err.state()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(out), 0o666))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(err), 0o666))
}

func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: crash NAME")
	}
	d := namedDaemon(ts, args[0])
	ts.Check(d.cmd.Process.Kill())
	<-d.ended
}

// A watched is the output of a process that runs, and says when there is more
// of it. The zero value is ready.
type watched struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // closed at the next write
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return len(p), nil
}

func (w *watched) state() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more == nil {
		w.more = make(chan struct{})
	}
	return string(w.text), w.more
}
