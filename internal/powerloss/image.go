package powerloss

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// An Image is a possible content of the disk: files by their path below the root with their
// content, and directories with nil.
type Image map[string][]byte

// settle notes that all changes up to that number are on the disk.
func (f *inode) settle(number int) {
	n := 0
	for n < len(f.pending) && f.pending[n].number <= number {
		c := &f.pending[n]
		if f.dir {
			c.rename(f.names)
		} else {
			f.data = c.write(f.data)
		}
		n++
	}
	f.pending = slices.Delete(f.pending, 0, n)
}

func (c *change) rename(names map[string]*inode) {
	if c.remove != "" {
		delete(names, c.remove)
	}
	if c.add != "" {
		names[c.add] = c.inode
	}
}

func (c *change) write(b []byte) []byte {
	if c.resize {
		return resize(b, c.size)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[c.at:], c.data)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func (f *inode) size() int64 {
	size := int64(len(f.data))
	for _, c := range f.pending {
		switch {
		case c.resize:
			size = c.size
		default:
			size = max(size, c.at+int64(len(c.data)))
		}
	}
	return size
}

// pieces cuts c at the borders of sectors.
func (c *change) pieces(sector int64) (out []change) {
	if len(c.data) == 0 {
		return []change{*c}
	}
	for at, data := c.at, c.data; len(data) > 0; {
		n := min(sector-at%sector, int64(len(data)))
		out = append(out, change{at: at, data: data[:n]})
		at, data = at+n, data[n:]
	}
	return out
}

// Unsynced counts the pieces that may or may not be on the disk, when writes are cut at the
// borders of sectors of the given size in bytes.
func (v *Volume) Unsynced(sector int64) (n int) {
	v.walk(func(f *inode) {
		for i := range f.pending {
			n += len(f.pending[i].pieces(sector))
		}
	})
	return n
}

// walk visits every inode that may be on the disk, in an order that is always the
// same.
func (v *Volume) walk(visit func(f *inode)) {
	seen := make(map[*inode]bool)
	var walk func(f *inode)
	walk = func(f *inode) {
		if seen[f] {
			return
		}
		seen[f] = true
		visit(f)
		for _, name := range slices.Sorted(maps.Keys(f.names)) {
			walk(f.names[name])
		}
		for _, c := range f.pending {
			if c.inode != nil {
				walk(c.inode)
			}
		}
	}
	walk(v.top)
}

// Image returns the content of the disk if it holds the pieces of Unsynced (there are n) for
// which keep returns true. Within a file, keep is called in the order of writing.
func (v *Volume) Image(sector int64, keep func(i int) bool) Image {
	names := make(map[*inode]map[string]*inode)
	data := make(map[*inode][]byte)
	i := 0
	v.walk(func(f *inode) {
		here, b := maps.Clone(f.names), f.data
		if len(f.pending) > 0 {
			b = bytes.Clone(b)
		}
		for k := range f.pending {
			for _, c := range f.pending[k].pieces(sector) {
				i++
				switch {
				case !keep(i - 1):
				case f.dir:
					c.rename(here)
				default:
					b = c.write(b)
				}
			}
		}
		names[f], data[f] = here, b
	})
	m := make(Image)
	var add func(path string, f *inode)
	add = func(path string, f *inode) {
		if !f.dir {
			m[path] = append([]byte{}, data[f]...)
			return
		}
		if path != "" {
			m[path] = nil
		}
		for name, child := range names[f] {
			add(filepath.Join(path, name), child)
		}
	}
	add("", v.top)
	return m
}

// Write puts the files of m into an empty directory.
func (m Image) Write(dir string) error {
	for _, path := range slices.Sorted(maps.Keys(m)) {
		to := filepath.Join(dir, path)
		if m[path] == nil {
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(to, m[path], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Compare checks that the volume has seen every change: it returns an error if its files differ
// from those that the kernel shows. It takes over writes that a killed process had not
// finished. Sockets do not count.
func (v *Volume) Compare() error {
	if err := v.finish(); err != nil {
		return err
	}
	m := v.Image(1<<30, func(int) bool { return true })
	err := filepath.WalkDir(v.root, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == v.root || e.Type()&os.ModeSocket != 0 {
			return err
		}
		rel, _ := filepath.Rel(v.root, path)
		want, ok := m[rel]
		delete(m, rel)
		if !ok {
			return fmt.Errorf("nobody made %q", path)
		}
		if e.IsDir() {
			return nil
		}
		got, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%q has %d bytes, %d were written; they differ from byte %d on", path, len(got), len(want), same(got, want))
		}
		return err
	})
	if err == nil && len(m) > 0 {
		err = fmt.Errorf("%q are gone", slices.Sorted(maps.Keys(m)))
	}
	return err
}

// same is how many bytes a and b begin with that are the same.
func same(a, b []byte) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// finish finds out how far the calls came in which the process was killed.
func (v *Volume) finish() error {
	for _, c := range v.open {
		f := v.files[c.number(0)]
		if c.Name != "pwrite64" || f == nil {
			continue // Compare finds out
		}
		path := v.pathOf(f.inode)
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := c.number(3)
		if end := min(at+c.number(2), int64(len(got))); end > at {
			v.change(f.inode, change{at: at, data: got[at:end]})
		}
	}
	v.open = nil
	return nil
}

func (v *Volume) pathOf(want *inode) (found string) {
	var search func(path string, f *inode)
	search = func(path string, f *inode) {
		if f == want {
			found = path
		}
		for name, child := range f.live {
			search(filepath.Join(path, name), child)
		}
	}
	search(v.root, v.top)
	return found
}
