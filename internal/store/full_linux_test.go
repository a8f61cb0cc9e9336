package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// tmpfs mounts a file system of that many bytes.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("cannot mount (no root?):", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The file system is really full: not even a hole in the file can be read.
func TestFullFileSystem(t *testing.T) {
	dir := tmpfs(t, "600k")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 250_000), 0o600); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, filepath.Join(dir, "store"), Limits{}, noon)
	d.db.AllocSize = pageSize
	fill(t, d, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

// On a file system that is mounted read-only, the store serves reads and refuses Puts.
func TestReadOnlyFileSystem(t *testing.T) {
	dir := tmpfs(t, "1m")
	path := filepath.Join(dir, "store")
	d := mustOpen(t, path, Limits{}, noon)
	r := open(t, 1, 0, 1, after(time.Hour), "v")
	wantPut(t, d, noon, r, wire.CodeOK)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, path, Limits{}, noon)
	wantGet(t, d, noon, r, r)
	wantPut(t, d, noon, small(t, 2), wire.CodeReadOnly)
	wantPut(t, d, noon, r, wire.CodeOK)
	if d.Report().ReadOnly == nil {
		t.Errorf("report %v", d.Report())
	}
	if d.Expire(after(time.Hour)); d.Len() != 1 {
		t.Errorf("%d records", d.Len())
	}
	wantGet(t, d, after(time.Hour), r)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(path); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err == nil {
		t.Error("this is not read-only")
	}
}
