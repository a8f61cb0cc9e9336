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
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) restoreCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE | -",
		Short: "Bring a backup back",
		Long: `Restore brings the profile back from FILE, which "kad backup" wrote; "-" is
standard input.

Into an empty or new directory (--data) it puts the identity and the records; "kad
up" goes on from there. If the node of this profile runs, it takes in the records,
publications and peers that it lacks. What is newer stands: what was unpublished
after the backup was made stays so, and what is published here ends if it was
unpublished before the backup was made. Otherwise a directory in use is refused;
with --force its database is put aside, under a name that says so, and the
backup's takes its place, with all that was published then. An identity is never
replaced by another.`,
		Example: `  kad restore kad.tar
  kad restore --data /srv/node kad.tar && kad up --data /srv/node`,
		Args: takes(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.unhurried(cmd.Context(), func(ctx context.Context) error {
				return a.restore(ctx, args[0], force)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also into a profile in use, whose database is put aside")
	return cmd
}

// A restored says what a restore did.
type restored struct {
	ID      wire.PeerID     `json:"id"`
	Data    string          `json:"data"`
	Live    bool            `json:"live"` // into a node that runs
	Merged  *control.Merged `json:"merged,omitempty"`
	Records int             `json:"records"`         // of the backup
	Damaged int             `json:"damaged"`         // of the backup, left out
	Aside   string          `json:"aside,omitempty"` // where the former database is now
}

func (a *app) restore(ctx context.Context, file string, force bool) error {
	if len(a.bootstrap) > 0 {
		return usagef("restore is for the profile (--data), not for a network: leave out --bootstrap")
	}
	from := a.in
	if file != "-" {
		f, err := openInput(file)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	p, err := a.openProfile()
	if err != nil {
		return err
	}
	api, err := a.daemon(ctx)
	if err != nil && !errors.Is(err, control.ErrNoDaemon) {
		return err
	}
	if api == nil {
		unlock, err := p.lockIdle()
		if err != nil {
			return err
		}
		defer unlock()
		if err := p.restorable(force); err != nil {
			return err
		}
	}
	work, err := os.MkdirTemp(p.dir, ".restore-*") // 0700, and on the disk where all is to go
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(work)
	b, err := a.unpack(ctx, from, work)
	if err != nil {
		return fmt.Errorf("restore %s: %w", wire.Printable(file), err)
	}
	if b.damaged > 0 {
		a.remark("kad: %d damaged records or states of the backup are left out", b.damaged)
	}
	done := restored{ID: b.id, Data: p.dir, Records: b.records, Damaged: b.damaged}
	if api != nil {
		err = a.restoreLive(ctx, api, b, &done)
	} else {
		err = p.restore(b, &done)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	a.object(done)
	switch {
	case done.Live:
		m := done.Merged
		a.print("the node %s took in %s and %s that it lacked, and keeps alive %s of the backup", done.ID,
			plural(m.Records, "record"), plural(m.Peers, "peer"), plural(m.Publications, "publication"))
		if m.Retracted > 0 {
			a.remark("%s of the node ended: unpublished before the backup was made.", plural(m.Retracted, "publication"))
		}
		if m.Refused > 0 {
			a.remark("%s of the backup left out: older than what the node has, unpublished since, ended, damaged, or without room.", plural(m.Refused, "record"))
		}
	default:
		a.print("%s, with %s, is in %s", done.ID, plural(done.Records, "record"), wire.Printable(p.dir))
		if done.Aside != "" {
			a.remark("The former database is %s.", wire.Printable(done.Aside))
		}
	}
	return nil
}

// restorable returns an error if a profile on which no node runs holds anything
// and force is not given.
func (p profile) restorable(force bool) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lock", name == "control.sock", name == ".s", isLeftover(name):
		case force:
		default:
			return usagef("the profile %q holds something already (%q): give a new directory by --data, or --force to put its database aside", p.dir, name)
		}
	}
	return nil
}

// An unpacked backup lies in a directory.
type unpacked struct {
	dir      string
	id       wire.PeerID
	hasDB    bool
	records  int
	damaged  int
	identity string // the path of each
	database string
}

// unpack reads a backup into the directory work and examines it.
func (a *app) unpack(ctx context.Context, from io.Reader, work string) (unpacked, error) {
	b := unpacked{dir: work, identity: filepath.Join(work, backupIdentity), database: filepath.Join(work, backupDatabase)}
	db, err := os.OpenFile(b.database, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return b, err
	}
	defer db.Close()
	progress := a.progress()
	w := &counter{w: db, show: func(n int64) { progress.show("unpacked: %s", size(n)) }}
	identity, hasDB, err := readBackup(&cancelled{ctx, from}, w)
	progress.clear()
	if err == nil {
		err = db.Sync()
	}
	if err != nil {
		return b, err
	}
	if err := writeSynced(b.identity, identity); err != nil {
		return b, err
	}
	if b.id, err = loadIdentity(b.identity); err != nil {
		return b, fmt.Errorf("%w: its identity: %w", errNoBackup, err)
	}
	b.hasDB = hasDB
	if hasDB {
		r, err := store.Check(b.database)
		if damaged, ok := errors.AsType[*store.DamagedError](err); ok {
			return b, fmt.Errorf("its database is damaged (%s); to save what is readable, unpack it with tar into an empty directory DIR and run: kad doctor --salvage --data DIR", damaged.Reason)
		}
		if err != nil {
			return b, fmt.Errorf("its database: %w", err)
		}
		b.records, b.damaged = r.Records, r.Damaged+r.DamagedStates
	}
	return b, nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// restoreLive gives the backup's database to a node that runs.
func (a *app) restoreLive(ctx context.Context, api control.API, b unpacked, done *restored) error {
	s, err := statusOf(ctx, api)
	if err != nil {
		return err
	}
	if s.ID != b.id {
		return usagef("the backup is of %s, and the node that runs is %s: restore it into a profile of its own, by --data", b.id, s.ID)
	}
	done.Live, done.Merged = true, new(control.Merged)
	if !b.hasDB {
		return nil
	}
	db, err := os.Open(b.database)
	if err != nil {
		return err
	}
	defer db.Close()
	progress := a.progress()
	defer progress.clear()
	progress.show("the node takes it in")
	*done.Merged, err = api.Restore(ctx, db)
	return err
}

// restore puts the backup into the profile, whose lock is held: the identity
// first, so that no node can make another beside the records of this one.
func (p profile) restore(b unpacked, done *restored) error {
	switch _, err := os.Stat(p.keyFile()); {
	case err == nil:
		key, _, err := p.key()
		if err != nil {
			return err
		}
		if id := peerIDOf(key); id != b.id {
			return usagef("the backup is of %s, and %q is the identity %s, which is never replaced: restore into another directory, by --data", b.id, p.keyFile(), id)
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Rename(b.identity, p.keyFile()); err != nil {
			return err
		}
	default:
		return err
	}
	if err := syncDir(p.dir); err != nil || !b.hasDB {
		return err
	}
	if _, err := os.Stat(p.database()); err == nil {
		done.Aside, err = exchange(p.database(), b.database, "before-restore")
		return err
	}
	if err := os.Rename(b.database, p.database()); err != nil {
		return err
	}
	return syncDir(p.dir)
}

// exchange puts the file fresh in the place of path, which stays beside it under a
// name that says why. At no moment is there nothing at path: a node that began after
// a crash would make an empty database there.
func exchange(path, fresh, why string) (old string, err error) {
	old = aside(path, why, time.Now())
	back := func() error { return os.Remove(old) }
	if err := os.Link(path, old); err != nil { // a file system without links
		back = func() error { return os.Rename(old, path) }
		if err := os.Rename(path, old); err != nil {
			return "", err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return "", errors.Join(err, back())
	}
	return old, syncDir(filepath.Dir(path))
}

// aside returns a new name for the file at path, with the reason and the time.
func aside(path, why string, now time.Time) string {
	base := fmt.Sprintf("%s.%s-%s", path, why, now.UTC().Format("20060102T150405Z"))
	for i, name := 2, base; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
}
