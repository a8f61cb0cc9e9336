package powerloss

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// calls are the system calls that a Volume needs: those it understands, and those that could
// write without its knowledge.
var calls = []string{
	"openat", "close", "write", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "syncfs", "sync",
	"rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat",
	"open", "creat", "truncate", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice",
	"symlink", "symlinkat", "dup", "dup2", "dup3", "lseek", "mmap",
}

// Args are the arguments of strace that write a trace for [Parse] to a file; the
// command to be traced comes behind them.
func Args(file string) []string {
	known := "?" + strings.Join(calls, ",?") // not every machine has all of them
	return []string{"-f", "-ttt", "-xx", "-s", "134217728", "--seccomp-bpf", "-e", "trace=" + known, "-e", "signal=none", "-o", file}
}

// A Call is a system call. Its arguments are as strace prints them.
type Call struct {
	Name   string
	Result int64 // -1: it failed
	args   []string
}

// An Event is the begin of a call, its end, or both where nothing was seen to
// happen in between. A call in which the process was killed never ends.
type Event struct {
	*Call
	At           time.Time // by the wall clock; of a begin, before anything was done
	Begins, Ends bool
}

// Parse reads a trace.
func Parse(r io.Reader) ([]Event, error) {
	var events []Event
	open := make(map[string]*Call) // by thread
	lines := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return events, nil // a last line without an end was not finished
		}
		if err != nil {
			return nil, err
		}
		e, err := parseLine(strings.TrimSuffix(line, "\n"), open)
		if err != nil {
			return nil, fmt.Errorf("line %d, %.200q: %w", n, line, err)
		}
		if e.Call == nil {
			continue
		}
		if k := len(events); k > 0 && e.At.Before(events[k-1].At) {
			return nil, fmt.Errorf("line %d: the clock went back by %v", n, events[k-1].At.Sub(e.At))
		}
		events = append(events, e)
	}
}

func parseLine(line string, open map[string]*Call) (e Event, err error) {
	thread, rest, _ := strings.Cut(line, " ")
	stamp, rest, ok := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if !ok {
		return e, fmt.Errorf("no time")
	}
	seconds, micros, _ := strings.Cut(stamp, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	us, err2 := strconv.ParseInt(micros, 10, 64)
	if err != nil || err2 != nil || len(micros) != 6 {
		return e, fmt.Errorf("time %q", stamp)
	}
	e.At = time.Unix(s, us*1000)
	switch {
	case strings.HasPrefix(rest, "+++"), strings.HasPrefix(rest, "---"):
		return e, nil
	case strings.HasPrefix(rest, "<... "):
		e.Call, e.Ends = open[thread], true
		delete(open, thread)
		_, rest, ok = strings.Cut(rest, " resumed>")
		if e.Call == nil || !ok {
			return e, fmt.Errorf("the end of a call that did not begin")
		}
	default:
		name, args, ok := strings.Cut(rest, "(")
		if !ok {
			return e, fmt.Errorf("no call")
		}
		e.Call, e.Begins, e.Ends = &Call{Name: name}, true, true
		rest = args
	}
	i := strings.LastIndex(rest, " <unfinished ...>")
	if i < 0 {
		i = strings.LastIndex(rest, " <detached ...>") // killed
	}
	if i >= 0 {
		if !e.Begins {
			return Event{At: e.At}, nil // killed as it ended
		}
		rest, e.Ends = rest[:i], false
		open[thread] = e.Call
	} else {
		i := strings.LastIndex(rest, ") ")
		if i < 0 {
			return e, fmt.Errorf("no end")
		}
		_, result, _ := strings.Cut(rest[i:], "= ")
		if strings.HasPrefix(result, "?") { // killed
			e.Ends = false
		} else if e.Result, err = strconv.ParseInt(strings.Fields(result + " ")[0], 0, 64); err != nil {
			return e, fmt.Errorf("result %q", result)
		}
		rest = rest[:i]
	}
	for arg := range strings.SplitSeq(rest, ",") {
		if arg = strings.TrimSpace(arg); arg != "" {
			e.args = append(e.args, arg)
		}
	}
	if !e.Begins && !e.Ends {
		e.Call = nil
	}
	return e, nil
}

// number is the ith argument; -1 if it is none.
func (c *Call) number(i int) int64 {
	if i >= len(c.args) {
		return -1
	}
	n, err := strconv.ParseInt(c.args[i], 0, 64)
	if err != nil {
		return -1
	}
	return n
}

// bytes is the ith argument, a string in hexadecimal.
func (c *Call) bytes(i int) ([]byte, error) {
	if i >= len(c.args) {
		return nil, fmt.Errorf("%s without argument %d", c.Name, i)
	}
	s := c.args[i]
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil, fmt.Errorf("%s: argument %.40q is no whole string", c.Name, s)
	}
	s = s[1 : len(s)-1]
	out := make([]byte, len(s)/4)
	digits := bytes.ReplaceAll([]byte(s), []byte(`\x`), nil)
	if n, err := hex.Decode(out, digits); err != nil || n*4 != len(s) {
		return nil, fmt.Errorf("%s: argument %.40q is not in hexadecimal", c.Name, s)
	}
	return out, nil
}

// path is the ith argument, which must be absolute.
func (c *Call) path(i int) (string, error) {
	b, err := c.bytes(i)
	return string(b), err
}

// flag reports whether the ith argument is or contains that flag.
func (c *Call) flag(i int, name string) bool {
	return i < len(c.args) && slices.Contains(strings.Split(c.args[i], "|"), name)
}
