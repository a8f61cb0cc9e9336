package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/kadquic/kadquic/internal/filelock"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A profile is a directory with what outlives a process: the Ed25519 key that is
// the identity of the node that `kad up` runs, and in whose name put publishes;
// and that node's records, peers and publications. While the node runs its
// control socket is there too.
type profile struct{ dir string }

const defaultDataHelp = "$XDG_DATA_HOME/kad, ~/.local/share/kad"

// openProfile names the profile of --data, or the default one. It touches
// nothing.
func (a *app) openProfile() (profile, error) {
	if a.data != "" {
		return profile{a.data}, nil
	}
	dir, err := dataHome()
	if err != nil {
		return profile{}, fmt.Errorf("no place for the profile, give one by --data: %w", err)
	}
	return profile{filepath.Join(dir, "kad")}, nil
}

// dataHome is the XDG base directory for data; on Windows the local application
// data.
func dataHome() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // the specification says: ignore a relative one
		return dir, nil
	}
	if runtime.GOOS == "windows" {
		return os.UserCacheDir() // %LocalAppData%
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "share"), nil
}

// The files of a profile.
func (p profile) keyFile() string  { return filepath.Join(p.dir, "identity.pem") }
func (p profile) database() string { return filepath.Join(p.dir, "node.db") }
func (p profile) lockFile() string { return filepath.Join(p.dir, "lock") }

// key loads the profile's key, and makes one on first use.
func (p profile) key() (key ed25519.PrivateKey, created bool, err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("profile: %w", err)
	}
	return quic.LoadOrCreateKey(p.keyFile())
}

// lock keeps a second node from running on the same profile, which would be two
// nodes of one identity. It lasts until unlock, or the process, ends.
func (p profile) lock() (unlock func(), err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return filelock.Lock(p.lockFile())
}

// leftovers are the prefixes of temporary files that commands make in a profile while
// they run.
var leftovers = []string{".restore-", ".doctor-", ".salvage-"}

func isLeftover(name string) bool {
	return slices.ContainsFunc(leftovers, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// clearUp removes what commands that were killed left in p, whose lock is held.
func (p profile) clearUp() {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if isLeftover(e.Name()) {
			os.RemoveAll(filepath.Join(p.dir, e.Name()))
		}
	}
}

// busy reports whether a process has the profile.
func (p profile) busy() bool {
	if _, err := os.Stat(p.lockFile()); err != nil {
		return false
	}
	unlock, err := filelock.Lock(p.lockFile())
	if err != nil {
		return errors.Is(err, filelock.ErrLocked)
	}
	unlock()
	return false
}

// lockForNode locks p for a node to run on. Where another node has it, the error
// says how to run a second one: taking another profile unasked would give it another
// identity, such as to a service that a supervisor restarts too early.
func (p profile) lockForNode() (unlock func(), err error) {
	unlock, err = p.lock()
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("the profile %q is in use by another node. To run a second node, give it a profile of its own: kad up --data DIR", p.dir)
	}
	return unlock, err
}

// peerIDOf is the peer ID that belongs to key.
func peerIDOf(key ed25519.PrivateKey) wire.PeerID {
	return wire.PeerID(quic.PublicOf(key))
}
