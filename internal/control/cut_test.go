package control

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A daemon that goes away in mid-answer is told of in plain words, without the
// socket's names.
func TestCutNamesNoSocket(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "unix", Source: &net.UnixAddr{Net: "unix"}, Addr: &net.UnixAddr{Name: "/p/control.sock", Net: "unix"},
		Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, nil, reset, fmt.Errorf("Post %q: %w", "http://kad/v1/put", reset)} {
		got := cut(t.Context(), err)
		if !errors.Is(got, ErrCut) || strings.Contains(got.Error(), "unix") || strings.Contains(got.Error(), "http") || strings.Contains(got.Error(), "EOF") {
			t.Errorf("%v is told as %q", err, got)
		}
	}
}
