package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// pageSize is the page size of new files on all machines, because a file may move.
const pageSize = 4096

// noSync turns off syncs, for tests without crashes.
var noSync bool

// create makes an empty store, unless there is a file at path already. It is
// complete and on the disk before it has that name, so that neither a crash nor
// another process that does the same leaves half of one.
func create(path string) error {
	return build(path, func(*bolt.DB) error { return nil })
}

// build makes a store with the contents that fill writes. The error is fs.ErrExist if there is
// a file at path.
func build(path string, fill func(*bolt.DB) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	err = guard(func() error {
		db, err := bolt.Open(temp, 0o600, &bolt.Options{PageSize: pageSize, FreelistType: bolt.FreelistMapType, NoSync: noSync})
		if err != nil {
			return err
		}
		db.AllocSize = allocSize
		return errors.Join(db.Update(func(tx *bolt.Tx) error {
			about, err := tx.CreateBucket(aboutBucket)
			if err != nil {
				return err
			}
			for _, name := range [][]byte{recordBucket, stateBucket} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			return about.Put(formatKey, []byte(format))
		}), fill(db), db.Close())
	})
	if err != nil {
		return fmt.Errorf("create %q: %w", path, err)
	}
	return place(temp, path)
}

// place gives the file temp the name path, which must be free, and syncs the
// directory.
func place(temp, path string) error {
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return err
	} else if err != nil { // a file system without links
		if _, err := os.Lstat(path); err == nil {
			return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		}
		if err := os.Rename(temp, path); err != nil {
			return err
		}
	}
	if noSync {
		return nil
	}
	return syncNames(path)
}

// syncNames makes sure that the file at path is found after a power failure. It syncs all
// directories on the path, because each may be new, and the process that made it may have
// been killed before it synced the parent. The error concerns the file's own directory
// only; the others may belong to another user.
func syncNames(path string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	err = syncDir(dir)
	for up := filepath.Dir(dir); up != dir; dir, up = up, filepath.Dir(up) {
		syncDir(up)
	}
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err = dir.Sync(); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil // a file system that cannot
	}
	return err
}
