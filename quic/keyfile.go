package quic

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

const (
	pemType    = "PRIVATE KEY" // PKCS#8, RFC 5208
	maxKeyFile = 4 << 10
)

// LoadKey reads an identity from the file at path: PKCS#8 in PEM, a regular file
// that only its owner can read or write (mode 0600; not checked on Windows, which
// has no such modes). The error says what to repair.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %q is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("key file %q is open to others (mode %04o): make it private with: chmod 600 %q", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w", path, err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %q: %w; restore it from a copy, or move it away to start with a new identity", path, err)
	}
	return key, nil
}

// LoadOrCreateKey is LoadKey, but makes a fresh identity where there is no file
// yet, and the directory (mode 0700) if that is missing too. The file appears
// whole and synced or not at all, and never replaces another: when two processes
// start at once both end with the same key, and only one has created true.
func LoadOrCreateKey(path string) (key ed25519.PrivateKey, created bool, err error) {
	key, err = LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = GenerateKey(); err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, fmt.Errorf("key file: %w", err)
	}
	switch err := writeNew(path, formatKey(key)); {
	case errors.Is(err, fs.ErrExist): // another process was faster: its key counts
		key, err = LoadKey(path)
		return key, false, err
	case err != nil:
		return nil, false, fmt.Errorf("key file: %w", err)
	}
	return key, true, nil
}

// writeNew puts a file with mode 0600 at path, whole, or fails with fs.ErrExist.
// A hard link is the one operation that neither replaces a file nor shows half
// of one; where the file system has none, an exclusive create must do.
func writeNew(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := writeSynced(tmp, data); err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Lstat(path); statErr == nil {
			return fs.ErrExist
		}
		f, createErr := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if createErr != nil {
			return createErr
		}
		err = writeSynced(f, data)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSynced(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a new name in dir outlast a power cut. Windows cannot, and needs
// not.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func formatKey(key ed25519.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("quic: " + err.Error()) // an Ed25519 key always marshals
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
}

func parseKey(text []byte) (ed25519.PrivateKey, error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("larger than %d bytes, so not a key", maxKeyFile)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block (empty or cut short?)")
	}
	if block.Type != pemType {
		return nil, fmt.Errorf("a PEM block of type %q, not %q", block.Type, pemType)
	}
	for _, b := range rest {
		if b != '\n' && b != '\r' && b != ' ' && b != '\t' {
			return nil, errors.New("something follows the key")
		}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a PKCS#8 key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}
