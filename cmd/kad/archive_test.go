package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// tarOf is an archive of files, name and content by turns.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What takes the place of a database leaves it where it is until it does.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	path, fresh := filepath.Join(dir, "node.db"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(path, []byte("former"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(path, fresh, "damaged"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with nothing: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "former" {
		t.Errorf("after an exchange that failed there is %q, %v", b, err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%d files are left", len(all))
	}
	if err := os.WriteFile(fresh, []byte("fresh"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := exchange(path, fresh, "damaged")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{path: "fresh", old: "former"} {
		if b, err := os.ReadFile(file); string(b) != want {
			t.Errorf("%s holds %q, %v", filepath.Base(file), b, err)
		}
	}
}

func TestArchiveRoundTrip(t *testing.T) {
	db, err := os.Create(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	want := bytes.Repeat([]byte("page"), 5000)
	db.Write(want)
	for _, file := range []*os.File{db, nil} {
		var b, got bytes.Buffer
		if err := writeBackup(&b, []byte("key"), file); err != nil {
			t.Fatal(err)
		}
		identity, hasDB, err := readBackup(&b, &got)
		if err != nil || string(identity) != "key" || hasDB != (file != nil) || hasDB && !bytes.Equal(got.Bytes(), want) {
			t.Errorf("read back: %q, %v, %d bytes, %v", identity, hasDB, got.Len(), err)
		}
	}
}

// What is no backup is refused, whatever else it is.
func TestArchiveRefuses(t *testing.T) {
	whole := tarOf(t, "identity.pem", "key", "node.db", "database")
	for what, b := range map[string][]byte{
		"nothing":                  nil,
		"text":                     []byte("This is my shopping list."),
		"an empty archive":         tarOf(t),
		"a path":                   tarOf(t, "identity.pem", "key", "../node.db", "x"),
		"a stranger":               tarOf(t, "identity.pem", "key", "passwd", "x"),
		"two keys":                 tarOf(t, "identity.pem", "key", "identity.pem", "key"),
		"no key":                   tarOf(t, "node.db", "x"),
		"a key too large":          tarOf(t, "identity.pem", string(make([]byte, maxIdentity+1))),
		"half a backup":            whole[:len(whole)/2],
		"one that lost its end":    whole[:3*512+3],
		"a directory for database": dirTar(t),
	} {
		if _, _, err := readBackup(bytes.NewReader(b), io.Discard); !errors.Is(err, errNoBackup) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func dirTar(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "identity.pem", Size: 1})
	w.Write([]byte("k"))
	w.WriteHeader(&tar.Header{Name: "node.db", Typeflag: tar.TypeDir})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A backup may come from anywhere: it makes no panic, and nothing longer than
// itself.
func FuzzReadBackup(f *testing.F) {
	f.Add(tarOf(f, "identity.pem", "key", "node.db", "database"))
	f.Add(tarOf(f, "identity.pem", "key"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var db bytes.Buffer
		identity, _, err := readBackup(bytes.NewReader(b), &db)
		if db.Len() > len(b) || len(identity) > len(b) {
			t.Errorf("%d bytes gave %d of identity and %d of database", len(b), len(identity), db.Len())
		}
		if err == nil && identity == nil {
			t.Error("a backup without identity")
		}
	})
}
