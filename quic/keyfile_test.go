package quic

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	_, err := LoadKey(path)
	want(t, err, fs.ErrNotExist)
	key, created, err := LoadOrCreateKey(path)
	check(t, err)
	if !created {
		t.Error("not created")
	}
	again, created, err := LoadOrCreateKey(path)
	check(t, err)
	if created || !key.Equal(again) {
		t.Error("the second start has another key")
	}
	if runtime.GOOS != "windows" {
		for name, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			info, err := os.Stat(name)
			check(t, err)
			if info.Mode().Perm() != mode {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	check(t, err)
	if len(left) != 1 {
		t.Errorf("%d files are left over", len(left)-1)
	}
}

func TestKeyFileOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	path := filepath.Join(t.TempDir(), "key")
	_, _, err := LoadOrCreateKey(path)
	check(t, err)
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o777} {
		check(t, os.Chmod(path, mode))
		for _, load := range []func() error{
			func() error { _, err := LoadKey(path); return err },
			func() error { _, _, err := LoadOrCreateKey(path); return err },
		} {
			if err := load(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("mode %04o: %v", mode, err)
			}
		}
	}
}

// A damaged file is never taken for a missing one, nor replaced.
func TestKeyFileDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	_, _, err := LoadOrCreateKey(path)
	check(t, err)
	whole, err := os.ReadFile(path)
	check(t, err)
	for n := range whole {
		if n == len(whole)-1 {
			continue // only the last newline is missing
		}
		check(t, os.WriteFile(path, whole[:n], 0o600))
		if _, _, err := LoadOrCreateKey(path); err == nil || !strings.Contains(err.Error(), "restore it") {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, whole[:n]) {
			t.Fatalf("cut to %d bytes it was replaced", n)
		}
	}
	for _, text := range [][]byte{
		append(whole, whole...),
		append(whole, "junk"...),
		bytes.Repeat([]byte{'\n'}, maxKeyFile+1),
		[]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
	} {
		if _, err := parseKey(text); err == nil {
			t.Errorf("accepted: %q", text)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check(t, os.Mkdir(path, 0o700))
	if _, err := LoadKey(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

// "Two processes starting at once never overwrite each other."
func TestKeyFileRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	var mu sync.Mutex
	keys, creators := map[PublicKey]bool{}, 0
	for range 16 {
		wg.Go(func() {
			key, created, err := LoadOrCreateKey(path)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			keys[PublicOf(key)] = true
			if created {
				creators++
			}
		})
	}
	wg.Wait()
	if len(keys) != 1 || creators != 1 {
		t.Errorf("%d keys, %d creators", len(keys), creators)
	}
}

// The same with processes: this test runs itself.
func TestKeyFileRaceOfProcesses(t *testing.T) {
	if path := os.Getenv("KEYFILE_TEST"); path != "" {
		key, _, err := LoadOrCreateKey(path)
		check(t, err)
		check(t, os.WriteFile(os.Getenv("KEYFILE_RESULT"), []byte(PublicOf(key).String()), 0o600))
		return
	}
	exe, err := os.Executable()
	check(t, err)
	dir := t.TempDir()
	var processes []*exec.Cmd
	for i := range 4 {
		cmd := exec.Command(exe, "-test.run=^TestKeyFileRaceOfProcesses$")
		cmd.Env = append(os.Environ(), "KEYFILE_TEST="+filepath.Join(dir, "key"),
			"KEYFILE_RESULT="+filepath.Join(dir, "result"+string(rune('0'+i))))
		check(t, cmd.Start())
		processes = append(processes, cmd)
	}
	for _, cmd := range processes {
		check(t, cmd.Wait())
	}
	key, err := LoadKey(filepath.Join(dir, "key"))
	check(t, err)
	for i := range processes {
		result, err := os.ReadFile(filepath.Join(dir, "result"+string(rune('0'+i))))
		check(t, err)
		if string(result) != PublicOf(key).String() {
			t.Errorf("process %d has key %s", i, result)
		}
	}
}

// The file is plain PKCS#8, as others write it.
func TestKeyFileOfOpenSSL(t *testing.T) {
	const text = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
` // RFC 8410 §10.3
	key, err := parseKey([]byte(text))
	check(t, err)
	if got := PublicOf(key).String(); got != "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1" {
		t.Errorf("public key %s", got)
	}
	if !bytes.Equal(formatKey(key), []byte(text)) {
		t.Errorf("written as %s", formatKey(key))
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add(formatKey(ed25519.NewKeyFromSeed(make([]byte, 32))))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKey(text)
		if err != nil {
			return
		}
		again, err := parseKey(formatKey(key))
		if err != nil || !again.Equal(key) {
			t.Errorf("%q does not survive being written: %v", text, err)
		}
	})
}
