package powerloss

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Volume is a directory tree, as the kernel shows it and as far as it is certainly on the disk.
// It begins empty and synced. Goroutines must not share it.
type Volume struct {
	root  string // absolute
	top   *inode
	files map[int64]*descriptor
	syncs map[*Call]int // those under way, see inode.pending
	open  []*Call       // the other calls under way
	count int           // of changes so far
}

// An inode is a file or a directory.
type inode struct {
	dir     bool
	data    []byte            // as it is on the disk
	names   map[string]*inode // as they are on the disk
	live    map[string]*inode // as the kernel shows them
	pending []change          // not synced yet, in the order in which they were made
}

// A change of one inode.
type change struct {
	number int // in the order of all

	// of a file
	at     int64
	data   []byte
	resize bool // to size
	size   int64

	// of a directory
	add    string // the name; "" none
	inode  *inode
	remove string
}

type descriptor struct {
	inode *inode
	at    int64
}

// New makes the volume of the directory at root, an absolute path.
func New(root string) *Volume {
	return &Volume{root: filepath.Clean(root), top: newDir(), files: map[int64]*descriptor{}, syncs: map[*Call]int{}}
}

func newDir() *inode {
	return &inode{dir: true, names: map[string]*inode{}, live: map[string]*inode{}}
}

// Ended notes that the process has ended: later calls belong to another process.
func (v *Volume) Ended() {
	clear(v.files)
	clear(v.syncs)
	v.open = nil
}

// Do applies the next event. It returns an error if it does not understand the event.
func (v *Volume) Do(e Event) (err error) {
	sync := e.Name == "fsync" || e.Name == "fdatasync"
	if e.Begins && sync {
		v.syncs[e.Call] = v.count
	}
	if e.Begins && !e.Ends && !sync {
		v.open = append(v.open, e.Call)
	}
	if e.Begins && e.Name == "close" { // its number may be given out again before it ends
		delete(v.files, e.number(0))
	}
	if !e.Ends {
		return nil
	}
	v.open = slices.DeleteFunc(v.open, func(c *Call) bool { return c == e.Call })
	if e.Result < 0 {
		delete(v.syncs, e.Call)
		return nil
	}
	switch e.Name {
	case "openat":
		return v.openat(e.Call)
	case "close":
		return nil
	case "fsync", "fdatasync":
		if f := v.files[e.number(0)]; f != nil {
			f.inode.settle(v.syncs[e.Call])
		}
		delete(v.syncs, e.Call)
		return nil
	case "write", "pwrite64", "ftruncate", "fallocate":
		return v.write(e.Call)
	case "mkdirat", "linkat", "renameat", "unlinkat":
		return v.rename(e.Call)
	}
	return v.foreign(e.Call)
}

// foreign is an error if the call, which is not understood, touches the volume.
func (v *Volume) foreign(c *Call) error {
	if c.Name == "mmap" && (!c.flag(2, "PROT_WRITE") || !c.flag(3, "MAP_SHARED")) || c.Name == "lseek" && c.Result == 0 {
		return nil
	}
	for i := range c.args {
		n := c.number(i)
		if c.Name == "mmap" && i != 4 || c.Name != "mmap" && n > 1<<20 {
			continue // no descriptor
		}
		if v.files[n] != nil {
			return fmt.Errorf("%s(%s) is not understood", c.Name, strings.Join(c.args, ", "))
		}
		if s, err := c.path(i); err == nil && s != "" && v.within(s) {
			return fmt.Errorf("%s %q is not understood", c.Name, s)
		}
	}
	return nil
}

func (v *Volume) within(path string) bool {
	return path == v.root || strings.HasPrefix(path, v.root+"/")
}

// find returns the directory of path and its name there, "" for the root of the volume. The
// directory is nil if path is not in the volume or was not made by a recorded call, such as
// a socket.
func (v *Volume) find(path string) (dir *inode, name string) {
	path = filepath.Clean(path)
	if !v.within(path) {
		return nil, ""
	}
	dir = v.top
	rest := strings.TrimPrefix(strings.TrimPrefix(path, v.root), "/")
	for {
		first, more, below := strings.Cut(rest, "/")
		if !below {
			return dir, first
		}
		if dir = dir.live[first]; dir == nil {
			return nil, ""
		}
		rest = more
	}
}

func (v *Volume) openat(c *Call) error {
	path, err := c.path(1)
	if err != nil {
		return err
	}
	dir, name := v.find(path)
	if dir == nil {
		delete(v.files, c.Result)
		return nil
	}
	f := dir
	if name != "" {
		f = dir.live[name]
	}
	if f == nil {
		if !c.flag(2, "O_CREAT") {
			return fmt.Errorf("open %q, which nobody made", path)
		}
		f = new(inode)
		v.change(dir, change{add: name, inode: f})
	} else if c.flag(2, "O_TRUNC") {
		v.change(f, change{resize: true})
	}
	if c.flag(2, "O_APPEND") {
		return fmt.Errorf("open %q to append is not understood", path)
	}
	v.files[c.Result] = &descriptor{inode: f}
	return nil
}

func (v *Volume) write(c *Call) error {
	f := v.files[c.number(0)]
	if f == nil {
		return nil
	}
	switch c.Name {
	case "ftruncate":
		v.change(f.inode, change{resize: true, size: c.number(1)})
		return nil
	case "fallocate":
		if c.args[1] != "0" {
			return fmt.Errorf("fallocate with %s is not understood", c.args[1])
		}
		if end := c.number(2) + c.number(3); end > f.inode.size() {
			v.change(f.inode, change{resize: true, size: end})
		}
		return nil
	}
	data, err := c.bytes(1)
	if err != nil {
		return err
	}
	if int64(len(data)) != c.number(2) || c.Result > int64(len(data)) {
		return fmt.Errorf("%s of %d bytes of which %d were traced", c.Name, c.number(2), len(data))
	}
	data = data[:c.Result]
	at := f.at
	if c.Name == "pwrite64" {
		at = c.number(3)
	} else {
		f.at += c.Result
	}
	v.change(f.inode, change{at: at, data: data})
	return nil
}

// rename applies the calls that change names.
func (v *Volume) rename(c *Call) error {
	from, err := c.path(1)
	if err != nil {
		return err
	}
	dir, name := v.find(from)
	switch {
	case c.Name == "mkdirat":
		if dir != nil {
			v.change(dir, change{add: name, inode: newDir()})
		}
		return nil
	case c.Name == "unlinkat":
		if dir != nil && dir.live[name] != nil {
			v.change(dir, change{remove: name})
		}
		return nil
	}
	to, err := c.path(3)
	if err != nil {
		return err
	}
	dir2, name2 := v.find(to)
	if dir == nil && dir2 == nil || dir != nil && dir.live[name] == nil {
		return nil // a socket
	}
	add := change{add: name2}
	if dir != dir2 {
		return fmt.Errorf("%s from %q to %q, from one directory to another, is not understood", c.Name, from, to)
	}
	if add.inode = dir.live[name]; c.Name == "renameat" {
		add.remove = name
	}
	v.change(dir, add)
	return nil
}

func (v *Volume) change(f *inode, c change) {
	v.count++
	c.number = v.count
	f.pending = append(f.pending, c)
	if f.dir {
		c.rename(f.live)
	}
}
