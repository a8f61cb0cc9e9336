//go:build unix

package console

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// With KADQUIC_BE_CONSOLE the test is a program that shows each line it reads, and at
// SIGUSR1 a line that was not typed.
func TestMain(m *testing.M) {
	if os.Getenv("KADQUIC_BE_CONSOLE") == "" {
		os.Exit(m.Run())
	}
	c, err := Open(os.Stdin, os.Stdout)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(c, "ready") // tmux keeps a copy of whatever is erased from the first line
	usr1, quit := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	signal.Notify(quit, syscall.SIGTERM)
	shown := make(chan bool, 1)
	go func() {
		for range usr1 {
			fmt.Fprintln(c, "a message")
			select {
			case shown <- true:
			default:
			}
		}
	}()
	go func() {
		<-quit
		c.Close()
		fmt.Fprintln(c, "closed")
	}()
	for {
		line, err := c.ReadLine()
		if err != nil {
			if c.closed.Load() {
				select {}
			}
			c.Close()
			fmt.Fprintln(c, err)
			select {} // the screen is looked at
		}
		fmt.Fprintf(c, "read %q\n", line)
		if line == "wait" {
			<-shown
		}
	}
}

// A window is a terminal in which the program runs.
type window struct {
	t   *testing.T
	pid string
}

func openWindow(t *testing.T, width int) window {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs tmux, which shows what a terminal makes of the program's output")
	}
	w := window{t: t}
	t.Cleanup(func() { exec.Command("tmux", "-L", w.name(), "kill-server").Run() })
	w.tmux("new-session", "-d", "-x", fmt.Sprint(width), "-y", "24", "-e", "KADQUIC_BE_CONSOLE=1", "-e", "LC_ALL=C.UTF-8", "exec "+os.Args[0])
	w.pid = w.tmux("display", "-p", "#{pane_pid}")
	w.want(">")
	return w
}

func (w window) name() string { return fmt.Sprintf("kadquic-%d-%s", os.Getpid(), w.t.Name()) }

func (w window) tmux(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-u", "-f", "/dev/null", "-L", w.name()}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return strings.TrimRight(string(out), " \n")
}

// press presses keys by their names, or types a text.
func (w window) press(keys ...string) {
	w.t.Helper()
	w.tmux(append([]string{"send-keys"}, keys...)...)
}

func (w window) signal(name string) {
	w.t.Helper()
	if out, err := exec.Command("kill", "-"+name, w.pid).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// want waits until these lines are all that is shown, and has scrolled away, since the
// program was ready.
func (w window) want(lines ...string) {
	w.t.Helper()
	var shown []string // by lines
	for late := time.After(30 * time.Second); ; {
		shown = strings.Split(w.tmux("capture-pane", "-p", "-S", "-"), "\n")[1:]
		for i := range shown {
			shown[i] = strings.TrimRight(shown[i], " ")
		}
		if slices.Equal(shown, lines) {
			return
		}
		select {
		case <-late:
			w.t.Fatalf("the window shows\n%s\nwant\n%s", strings.Join(shown, "\n"), strings.Join(lines, "\n"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestHomeAndEnd(t *testing.T) {
	w := openWindow(t, 40) // in tmux they are ^[[1~ and ^[[4~
	w.press("bcd", "Home", "a", "End", "e", "Enter")
	w.want("> abcde", `read "abcde"`, ">")
	w.press("fox", "Left", "Left", "BSpace", "Up", "Enter") // and the history
	w.want("> abcde", `read "abcde"`, "> abcde", `read "abcde"`, ">")
}

func TestWideCharactersAreErased(t *testing.T) {
	w := openWindow(t, 12)
	w.press("世界你好啊ab")
	w.want("> 世界你好啊", "ab")
	w.press("BSpace", "BSpace", "BSpace")
	w.want("> 世界你好")
	w.press("Home", "DC", "End", "BSpace", "x")
	w.want("> 界你x")
}

func TestNarrowerAndWiderWindow(t *testing.T) {
	w := openWindow(t, 40)
	w.press("first", "Enter", "the quick brown 狐 jumps over the lazy dog")
	w.want("> first", `read "first"`, "> the quick brown 狐 jumps over the lazy", " dog")
	w.tmux("resize-window", "-x", "20")
	w.press("s")
	w.want("> first", `read "first"`, "> the quick brown 狐", " jumps over the lazy", " dogs")
	w.signal("USR1")
	w.want("> first", `read "first"`, "a message", "> the quick brown 狐", " jumps over the lazy", " dogs")
	w.tmux("resize-window", "-x", "60")
	w.press("!")
	w.want("> first", `read "first"`, "a message", "> the quick brown 狐 jumps over the lazy dogs!")
}

// Output during the typing of a line appears above that line.
func TestMessagesWhileTyping(t *testing.T) {
	w := openWindow(t, 40)
	w.press("hel")
	w.want("> hel")
	w.signal("USR1")
	w.want("a message", "> hel")
	w.press("lo", "Enter")
	w.want("a message", "> hello", `read "hello"`, ">")
}

// Pasted lines are read as they are, and control characters are not text.
func TestPaste(t *testing.T) {
	w := openWindow(t, 40)
	want := []string{}
	for i := range 7 {
		w.press(fmt.Sprintf("line %d", i), "C-o", "Tab", "C-v", "C-z", "x", "Enter")
		want = append(want, fmt.Sprintf("> line %d x", i), fmt.Sprintf(`read "line %d x"`, i))
	}
	w.want(append(want, ">")...)
	w = openWindow(t, 40)
	w.tmux("set-buffer", strings.Repeat("pasted\n", 10))
	w.tmux("paste-buffer")
	w.want(append(slices.Repeat([]string{"> pasted", `read "pasted"`}, 10), ">")...)
}

// Text typed while no line is read becomes the next line, and the terminal does not echo it.
func TestTypedAhead(t *testing.T) {
	w := openWindow(t, 40)
	w.press("wait", "Enter")
	w.want("> wait", `read "wait"`)
	w.press("ahead", "Enter", "hal")
	w.signal("USR1")
	w.want("> wait", `read "wait"`, "a message", "> ahead", `read "ahead"`, "> hal")
}

// At the end the terminal is as it was, and half a line is not taken for a whole one.
func TestClose(t *testing.T) {
	for _, key := range []string{"C-d", "C-c"} {
		w := openWindow(t, 40)
		w.press("whole", "Enter", key)
		w.want("> whole", `read "whole"`, ">", "EOF")
		w.press("echoed") // by the terminal
		w.want("> whole", `read "whole"`, ">", "EOF", "echoed")
	}
	w := openWindow(t, 40)
	w.press("half")
	w.want("> half")
	w.signal("TERM")
	w.want("> half", "closed")
}
