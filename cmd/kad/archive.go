package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A backup is a tar archive of two files, in this order:
//
//	identity.pem  the profile's secret key
//	node.db       a consistent copy of its database; missing if there was none
const (
	backupIdentity = "identity.pem"
	backupDatabase = "node.db"
)

// maxIdentity bounds the identity file of a backup.
const maxIdentity = 64 << 10

// errNoBackup is for a file that is not what "kad backup" writes.
var errNoBackup = errors.New("not a backup that \"kad backup\" made")

// writeBackup writes a backup; db may be nil.
func writeBackup(w io.Writer, identity []byte, db *os.File) error {
	t := tar.NewWriter(w)
	now := time.Now().Truncate(time.Second)
	err := t.WriteHeader(&tar.Header{Name: backupIdentity, Mode: 0o600, Size: int64(len(identity)), ModTime: now})
	if err != nil {
		return err
	}
	if _, err := t.Write(identity); err != nil {
		return err
	}
	if db != nil {
		size, err := db.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = db.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: backupDatabase, Mode: 0o600, Size: size, ModTime: now}); err != nil {
			return err
		}
		if _, err := io.Copy(t, db); err != nil {
			return err
		}
	}
	return t.Close()
}

// readBackup reads a backup: it returns the identity file and writes the
// database, if there is one, to db. It trusts no length in the archive: db gets
// no more bytes than r yields.
func readBackup(r io.Reader, db io.Writer) (identity []byte, hasDB bool, err error) {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF && identity == nil:
			return nil, false, fmt.Errorf("%w: it holds no %s", errNoBackup, backupIdentity)
		case err == io.EOF:
			return identity, hasDB, nil
		case err != nil:
			return nil, false, fmt.Errorf("%w: %w", errNoBackup, err)
		case h.Typeflag != tar.TypeReg:
			return nil, false, fmt.Errorf("%w: %q is not a plain file", errNoBackup, h.Name)
		case h.Name == backupIdentity && identity == nil && h.Size <= maxIdentity:
			if identity, err = io.ReadAll(t); err != nil {
				return nil, false, fmt.Errorf("%s: %w", h.Name, err)
			}
		case h.Name == backupDatabase && identity != nil && !hasDB:
			if _, err := io.Copy(db, t); err != nil {
				return nil, false, fmt.Errorf("%s: %w", h.Name, err)
			}
			hasDB = true
		default:
			return nil, false, fmt.Errorf("%w: %q has no place in one", errNoBackup, h.Name)
		}
	}
}
