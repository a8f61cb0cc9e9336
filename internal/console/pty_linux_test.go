package console

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal that never says where its cursor is holds nothing up.
func TestTerminalThatDoesNotAnswer(t *testing.T) {
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer ptmx.Close()
	conn, err := ptmx.SyscallConn() // Fd would make it blocking, without deadlines
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil {
		t.Skip(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KADQUIC_BE_CONSOLE=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	ptmx.SetDeadline(time.Now().Add(30 * time.Second))
	ptmx.WriteString("hello\rand more\r")
	var shown strings.Builder
	for b := make([]byte, 1024); !strings.Contains(shown.String(), `read "and more"`); {
		m, err := ptmx.Read(b)
		if shown.Write(b[:m]); err != nil {
			t.Fatalf("%v, after %q", err, shown.String())
		}
	}
	if s := shown.String(); !strings.Contains(s, `read "hello"`) || strings.Contains(s, whereIsCursor) {
		t.Errorf("shown: %q", s)
	}
}
