package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) doctorCommand() *cobra.Command {
	var salvage bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the profile, and save what a damaged database still holds",
		Long: `Doctor examines the profile: its identity, whether its node runs, and its
database, every record of which has a checksum. It changes nothing. The exit code
is 1 if something is wrong, and each line that says so says what to do.

With --salvage, while no node runs, it reads all that can still be read of a
damaged database into a new one, which takes the place of the old; the old one is
kept beside it, under a name that says so.`,
		Example: `  kad doctor
  kad doctor --salvage --data /srv/node`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.unhurried(cmd.Context(), func(ctx context.Context) error {
				if len(a.bootstrap) > 0 {
					return usagef("doctor examines the profile (--data), not a network: leave out --bootstrap")
				}
				p, err := a.openProfile()
				if err != nil {
					return err
				}
				if salvage {
					return a.salvage(ctx, p)
				}
				return a.doctor(ctx, p)
			})
		},
	}
	cmd.Flags().BoolVar(&salvage, "salvage", false, "save what can be read of a damaged database")
	return cmd
}

// A finding is one thing that doctor looked at.
type finding struct {
	About string `json:"about"` // "profile", "identity", "node", "database"
	OK    bool   `json:"ok"`
	Text  string `json:"text"`

	Report *reportJSON `json:"report,omitempty"` // of the database
}

// A reportJSON is a store's report as --json prints it.
type reportJSON struct {
	Records       int      `json:"records"`
	Remembered    int      `json:"remembered"`
	Dormant       int      `json:"dormant"`
	States        int      `json:"states"`
	Bytes         int64    `json:"bytes"`
	Damaged       int      `json:"damaged"`
	DamagedStates int      `json:"damaged_states"`
	Recovered     int      `json:"recovered,omitempty"`
	Losses        []string `json:"losses,omitempty"`
}

func newReportJSON(r store.Report) *reportJSON {
	return &reportJSON{r.Records, r.Remembered, r.Dormant, r.States, r.Bytes, r.Damaged, r.DamagedStates, r.Recovered, r.Losses}
}

func (a *app) doctor(ctx context.Context, p profile) error {
	well := true
	tell := func(f finding) {
		a.object(f)
		mark := "ok "
		if !f.OK {
			mark, well = "BAD", false
		}
		a.print("%s  %-8s  %s", mark, f.About, f.Text)
		if f.Report != nil {
			for _, loss := range f.Report.Losses {
				a.print("               %s", oneLine(loss))
			}
		}
	}
	if _, err := os.Stat(p.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no profile in %q; \"kad up\" makes one (another profile? --data)", p.dir)
		}
		return err
	}
	tell(examineDir(p))
	tell(examineIdentity(p))
	api, node := a.examineNode(ctx, p)
	tell(node)
	tell(a.examineDatabase(ctx, p, api))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !well {
		return errQuiet
	}
	return nil
}

func examineDir(p profile) finding {
	f := finding{About: "profile", OK: true, Text: wire.Printable(p.dir)}
	info, err := os.Stat(p.dir)
	switch {
	case err != nil:
		f.OK, f.Text = false, oneLine(err.Error())
	case !info.IsDir():
		f.OK, f.Text = false, fmt.Sprintf("%q is not a directory", p.dir)
	case os.PathSeparator == '/' && info.Mode().Perm()&0o022 != 0:
		f.OK, f.Text = false, fmt.Sprintf("others may change the files in %q: chmod go-w %q", p.dir, p.dir)
	}
	return f
}

func examineIdentity(p profile) finding {
	f := finding{About: "identity", OK: true}
	if _, err := os.Stat(p.keyFile()); errors.Is(err, fs.ErrNotExist) {
		f.Text = "none yet; the first use makes one"
		if _, err := os.Stat(p.database()); err == nil {
			f.OK = false
			f.Text = fmt.Sprintf("%q is gone, and the database is there: bring the file back (kad restore), or the node will be another", p.keyFile())
		}
		return f
	}
	id, err := loadIdentity(p.keyFile())
	f.Text = id.String()
	if err != nil {
		f.OK, f.Text = false, oneLine(err.Error())
	}
	return f
}

// examineNode looks whether a node runs on p; if so it returns it.
func (a *app) examineNode(ctx context.Context, p profile) (control.API, finding) {
	f := finding{About: "node", OK: true, Text: "does not run"}
	api, err := a.daemon(ctx)
	if none, ok := errors.AsType[*noDaemonError](err); ok {
		if none.busy {
			f.OK, f.Text = false, oneLine(err.Error())
		} else if err := mayWrite(p.lockFile()); err != nil {
			f.OK, f.Text = false, "cannot start: "+err.Error()
		}
		return nil, f
	}
	var s control.Status
	if err == nil {
		s, err = statusOf(ctx, api)
	}
	if err != nil {
		f.OK, f.Text = false, "does not answer: "+oneLine(err.Error())
		return nil, f
	}
	f.Text = fmt.Sprintf("runs for %s, as process %d", roughly(time.Since(s.Started)), s.PID)
	if s.ReadOnly != "" {
		f.OK = false
		f.Text += "; its disk cannot be written, so it stores nothing new: " + oneLine(s.ReadOnly)
	}
	return api, f
}

// examineDatabase checks the database, or, while a node runs, a copy that the
// node makes of it.
func (a *app) examineDatabase(ctx context.Context, p profile, api control.API) finding {
	f := finding{About: "database", OK: true}
	path := p.database()
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		f.Text = "none yet"
		return f
	case err != nil:
		f.OK, f.Text = false, oneLine(err.Error())
		return f
	}
	if err := mayWrite(path); err != nil {
		f.OK, f.Text = false, "a node cannot start with it: "+err.Error()
		return f
	}
	if api != nil {
		work, err := os.MkdirTemp(p.dir, ".doctor-*")
		if err != nil {
			f.OK, f.Text = false, "no copy can be made to examine: "+oneLine(err.Error())
			return f
		}
		defer os.RemoveAll(work)
		db, err := a.copyDatabase(ctx, p, filepath.Join(work, backupDatabase))
		if err != nil {
			f.OK, f.Text = false, "no copy can be made to examine: "+oneLine(err.Error())
			return f
		}
		defer db.Close()
		path = db.Name()
	}
	r, err := store.Check(path)
	switch damaged := r.Damaged + r.DamagedStates; {
	case errors.Is(err, store.ErrLocked):
		f.OK, f.Text = false, "another process has it open"
		return f
	case err != nil:
		f.OK, f.Text = false, oneLine(err.Error())
		return f
	case damaged > 0 && api != nil:
		f.OK, f.Text = false, fmt.Sprintf("%v. The node serves the rest. End it and run \"kad doctor --salvage\"", r)
	case damaged > 0:
		f.OK, f.Text = false, fmt.Sprintf("%v. A node serves the rest; \"kad doctor --salvage\" saves what it cannot find", r)
	default:
		f.Text = r.String()
	}
	f.Report = newReportJSON(r)
	return f
}

// mayWrite returns an error if a node could not open the file at path, which is there or
// not, as it does: to read and to write. On a file system that is mounted read-only it
// only reads. It changes nothing.
func mayWrite(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%q may not be read and written by this user: make it yours (chown), with mode 0600 (chmod)", path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EROFS):
		return nil
	}
	return errors.New(oneLine(err.Error()))
}

func (a *app) salvage(ctx context.Context, p profile) error {
	if s, err := a.daemon(ctx); err == nil {
		return usagef("a node runs on %q%s: end it first, its database cannot be exchanged meanwhile", p.dir, processOf(ctx, s))
	}
	if _, err := os.Stat(p.database()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database in %q (another profile? --data)", p.dir)
	}
	unlock, err := p.lockIdle()
	if err != nil {
		return err
	}
	defer unlock()
	before, err := store.Check(p.database())
	if err == nil && before.Damaged+before.DamagedStates == 0 {
		a.object(struct {
			Report *reportJSON `json:"report"`
		}{newReportJSON(before)})
		a.print("nothing is damaged: %v", before)
		return nil
	}
	work, err := os.MkdirTemp(p.dir, ".salvage-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	fresh := filepath.Join(work, backupDatabase)
	r, err := store.Salvage(p.database(), fresh, time.Now())
	if err != nil {
		return fmt.Errorf("salvage of %q: %w; it was left as it is", p.database(), err)
	}
	old, err := exchange(p.database(), fresh, "damaged")
	if err != nil {
		return err
	}
	a.object(struct {
		Report *reportJSON `json:"report"`
		Aside  string      `json:"aside"`
	}{newReportJSON(r), old})
	a.print("saved: %v", r)
	for _, loss := range r.Losses {
		a.print("  lost: %s", oneLine(loss))
	}
	a.remark("The damaged database is %s; delete it when you miss nothing.", wire.Printable(old))
	return nil
}

// processOf is the process of a node, if it can be had.
func processOf(ctx context.Context, api control.API) string {
	s, err := statusOf(ctx, api)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", as process %d", s.PID)
}
