package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/filelock"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE | -",
		Short: "Copy the profile into one file",
		Long: `Backup copies the profile into FILE, a tar archive: its identity, and the
records, publications and peers of its node, as they are at one moment. The node
may run meanwhile. FILE appears when it is whole, and takes the place of an older
backup; "-" is standard output.

FILE holds the profile's SECRET KEY: whoever can read it can speak in its name.
Its mode is 0600; keep it where you would keep the key. "kad restore" reads it.`,
		Example: `  kad backup /mnt/disk/kad.tar
  kad backup --data /srv/node - | age -r $RECIPIENT > kad.tar.age`,
		Args: takes(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return usagef("FILE is empty")
			}
			return a.unhurried(cmd.Context(), func(ctx context.Context) error {
				return a.backup(ctx, args[0])
			})
		},
	}
}

func (a *app) backup(ctx context.Context, file string) error {
	if len(a.bootstrap) > 0 {
		return usagef("backup copies the profile (--data), not a network: leave out --bootstrap")
	}
	p, err := a.openProfile()
	if err != nil {
		return err
	}
	if _, err := os.Stat(p.keyFile()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is nothing to back up: %q holds no identity (another profile? --data)", p.dir)
	}
	key, _, err := p.key()
	if err != nil {
		return err
	}
	identity, err := os.ReadFile(p.keyFile())
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	dir := os.TempDir()
	if file == "-" {
		if isTerminal(a.out) {
			return usagef("a backup is no text for a terminal: give FILE, or send standard output to one")
		}
	} else {
		dir = filepath.Dir(file)
		if err := replaceable(file); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp(dir, ".kad-backup-*") // 0700
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.RemoveAll(work)
	db, err := a.copyDatabase(ctx, p, filepath.Join(work, backupDatabase))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if db != nil {
		defer db.Close()
	}

	j := struct {
		File    string      `json:"file,omitempty"`
		ID      wire.PeerID `json:"id"`
		Records int         `json:"records"`
		Damaged int         `json:"damaged,omitempty"`
	}{ID: peerIDOf(key)}
	if db != nil {
		r, err := store.Check(db.Name())
		if err != nil {
			return fmt.Errorf("backup: the copy cannot be used: %w", err)
		}
		j.Records, j.Damaged = r.Records, r.Damaged+r.DamagedStates
		if j.Damaged > 0 {
			a.note("kad: %d damaged records or states of %q came along and will be left out when restored; see \"kad doctor\"", j.Damaged, p.database())
		}
	}
	if file == "-" {
		err := writeBackup(a.out, identity, db)
		if err == nil {
			a.note("That was the SECRET KEY of %s, and %s.", j.ID, plural(j.Records, "record"))
		}
		return err
	}
	if err := putInPlace(work, file, func(f *os.File) error { return writeBackup(f, identity, db) }); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	j.File = file
	a.object(j)
	a.print("%s  %s of %s, and its SECRET KEY: keep it safe", wire.Printable(file), plural(j.Records, "record"), j.ID)
	return nil
}

// replaceable returns an error if file exists and is not a backup, so that backup
// never replaces another program's file.
func replaceable(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return usagef("%q is there, and is not a plain file; choose another name", file)
	}
	if _, _, err := readBackup(f, io.Discard); err != nil {
		return usagef("%q is there, and is not a backup, so it was left as it is; choose another name", file)
	}
	return nil
}

// copyDatabase copies the profile's database to path, from the node that runs on
// the profile or, under its lock, from the file. It returns nil if there is none.
func (a *app) copyDatabase(ctx context.Context, p profile, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	has, err := a.fillDatabase(ctx, p, f)
	if err != nil || !has {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (a *app) fillDatabase(ctx context.Context, p profile, f *os.File) (has bool, err error) {
	progress := a.progress()
	defer progress.clear()
	w := &counter{w: f, show: func(n int64) { progress.show("copied: %s", size(n)) }}
	api, err := a.daemon(ctx)
	if err == nil {
		return true, copyOf(ctx, api, w)
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return false, err
	}
	unlock, err := p.lockIdle()
	if err != nil {
		return false, err
	}
	defer unlock()
	from, err := os.Open(p.database())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer from.Close()
	_, err = io.Copy(w, &cancelled{ctx, from})
	return true, err
}

// lockIdle locks a profile on which no node runs, for a command that reads or
// changes its files.
func (p profile) lockIdle() (unlock func(), err error) {
	unlock, err = p.lock()
	if errors.Is(err, filelock.ErrLocked) {
		return nil, &noDaemonError{dir: p.dir, busy: true}
	}
	return unlock, err
}

// putInPlace writes a file of mode 0600 in the directory work, and moves it to
// path when it is whole and on disk.
func putInPlace(work, path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(work, "*") // 0600
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings the names in a directory to the disk. Where directories cannot
// be synced there is nothing to do.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && os.PathSeparator == '/' {
		return err
	}
	return nil
}

// A counter tells how much has gone through it, a few times a second.
type counter struct {
	w    io.Writer
	n    int64
	last time.Time
	show func(n int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	if now := time.Now(); now.Sub(c.last) > 200*time.Millisecond {
		c.last = now
		c.show(c.n)
	}
	return n, err
}

// A cancelled reader ends with its context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// loadIdentity reads the identity file that the user names.
func loadIdentity(file string) (wire.PeerID, error) {
	key, _, err := quic.LoadOrCreateKey(file)
	if err != nil {
		return wire.PeerID{}, err
	}
	return peerIDOf(key), nil
}
