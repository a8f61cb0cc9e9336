package natlab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Every program that runs on a node has in its environment whose lab it is, and so
// have those that it starts: they outlive a test that is killed, unless they are swept.
const ownerVariable = "NATLAB_OWNER"

// owner names this process as no other on this machine can be named: by its number,
// when it started, and where numbers count.
func owner() string {
	space, _ := os.Readlink("/proc/self/ns/pid")
	return fmt.Sprintf("%d %s %s", os.Getpid(), started(os.Getpid()), space)
}

// started is when a process started, in ticks since the machine did; "" if there is
// no such process.
func started(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ") // before it, a name that may hold anything
	if fields := strings.Fields(rest); len(fields) > 19 {
		return fields[19] // proc(5): starttime
	}
	return ""
}

// sweep ends the programs of labs whose process is no more.
func sweep() {
	space, _ := os.Readlink("/proc/self/ns/pid")
	endProcesses(func(pid int) bool {
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for _, e := range strings.Split(string(environment), "\x00") {
			name, value, _ := strings.Cut(e, "=")
			if name != ownerVariable {
				continue
			}
			w := strings.Fields(value)
			if len(w) != 3 || w[2] != space {
				return false
			}
			pid, err := strconv.Atoi(w[0])
			return err == nil && started(pid) != w[1]
		}
		return false
	})
}

// killAllIn ends every process in the namespaces.
func killAllIn(nets []*namespace) {
	type id struct{ dev, ino uint64 }
	ours := map[id]bool{}
	for _, ns := range nets {
		var s unix.Stat_t
		if unix.Fstat(int(ns.file.Fd()), &s) == nil {
			ours[id{s.Dev, s.Ino}] = true
		}
	}
	endProcesses(func(pid int) bool {
		var s unix.Stat_t
		return unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &s) == nil && ours[id{s.Dev, s.Ino}]
	})
}

// endProcesses kills those that are meant, and returns when they are gone.
func endProcesses(meant func(pid int) bool) {
	for range 10 { // while there are any: one may have made another meanwhile
		again := false
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil || pid == os.Getpid() || !meant(pid) {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			// Look again: before fd held it, the number may have changed hands.
			if meant(pid) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
				again = true
			}
			unix.Close(fd)
		}
		if !again {
			return
		}
	}
}
