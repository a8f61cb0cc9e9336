package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
)

// newFile makes a file of random bytes.
func newFile(t *testing.T, name string, size int) (path string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// filesIn lists a directory.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path[len(dir)+1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, ", ")
}

func TestFiles(t *testing.T) {
	to := filepath.Join(t.TempDir(), "made", "here")
	file, data := newFile(t, "a plan.bin", 3<<20)
	alice := join(t, "--name=alice", "--downloads="+to)
	bob := join(t, "--name=bob", alice.ticket())
	bob.say("/send " + file) // before she is there, as a script does
	alice.want(`\* a plan.bin, bob·....: 3145728 of 3145728 bytes, .* MB/s`)
	alice.want(`\* a plan.bin from bob·.... is here: ` + regexp.QuoteMeta(filepath.Join(to, "a plan.bin")))
	bob.want(`\* .*/a plan.bin to alice·....: it is there`)
	if got, err := os.ReadFile(filepath.Join(to, "a plan.bin")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("it came as %d bytes, %v", len(got), err)
	}
	if err := os.WriteFile(file, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	bob.say("/send " + file)
	bob.want(`\* .*/a plan.bin to alice·....: they say: file already exists`)
	alice.want(`\* a plan.bin from bob·....: file already exists`)
	if again, _ := os.ReadFile(filepath.Join(to, "a plan.bin")); !bytes.Equal(again, data) {
		t.Error("a file was replaced")
	}
	bob.say("/send " + file + "none")
	bob.want(`\* .*none to alice·....: .*no such file.*`)
	bob.say("/send " + filepath.Dir(file))
	bob.want(`\* .* to alice·....: not an ordinary file`)
	empty, _ := newFile(t, "empty", 0)
	more, _ := newFile(t, "more", 5)
	bob.say("/send "+empty, "/send "+more) // in this order
	bob.quit()                             // when they have arrived
	alice.want(`\* empty from bob·.... is here: .*/empty`)
	alice.want(`\* more from bob·.... is here: .*/more`)
	alice.want(`\* bob·.... has left`)
	if got := filesIn(t, to); got != "a plan.bin, empty, more" {
		t.Errorf("there are %s", got)
	}
	alice.quit()
}

// Connections are cut during the transfer of a file, at either end: the transfer resumes, and
// the file arrives once.
func TestFileOverManyConnections(t *testing.T) {
	to := t.TempDir()
	file, data := newFile(t, "long.bin", 64<<20)
	alice := join(t, "--name=alice", "--downloads="+to)
	bob := join(t, "--name=bob", alice.ticket())
	bob.want(`\* alice·.... is here.*`)
	have := func() (n int64) {
		parts, _ := filepath.Glob(filepath.Join(to, ".*.part"))
		for _, part := range parts {
			if info, err := os.Stat(part); err == nil {
				n = info.Size()
			}
		}
		return n
	}
	bob.say("/send " + file)
	for i, from := range []*person{bob, alice, bob} {
		until := int64(i+1) << 23
		for have() < until {
			runtime.Gosched()
		}
		for _, to := range []*person{alice, bob} {
			from.chat.node.ClosePeer(to.chat.node.ID())
		}
		bob.want(`\* alice·.... is here.*`)
		if n := have(); n < until {
			t.Errorf("%d bytes are there, after %d", n, until)
		}
	}
	bob.want(`\* .*/long.bin to alice·....: it is there`)
	if got, err := os.ReadFile(filepath.Join(to, "long.bin")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("it came as %d bytes, %v", len(got), err)
	}
	if got := filesIn(t, to); got != "long.bin" {
		t.Errorf("there are %s", got)
	}
	bob.quit()
	alice.quit()
}

// A file can be given up by either end, or both: nothing of it stays.
func TestCancelledFile(t *testing.T) {
	to := t.TempDir()
	file, _ := newFile(t, "long.bin", 256<<20)
	alice := join(t, "--name=alice", "--downloads="+to)
	bob := join(t, "--name=bob", alice.ticket())
	bob.want(`\* alice·.... is here.*`)
	begun := func() {
		for {
			if parts, _ := filepath.Glob(filepath.Join(to, ".*.part")); len(parts) > 0 {
				return
			}
			runtime.Gosched()
		}
	}
	bob.say("/send " + file)
	begun()
	alice.say("/cancel")
	alice.want(`\* long.bin from bob·....: cancelled`)
	bob.want(`\* .*long.bin to alice·....: they say: cancelled`)
	bob.say("/send " + file)
	begun()
	bob.say("/cancel")
	bob.want(`\* .*long.bin to alice·....: cancelled`)
	alice.want(`\* long.bin from bob·....: they gave it up`)
	if got := filesIn(t, to); got != "" {
		t.Errorf("there are %s", got)
	}
	bob.say("/send " + file)
	begun()
	alice.quit()
	bob.want(`\* .*long.bin to alice·....: they have left`)
	if got := filesIn(t, to); got != "" {
		t.Errorf("there are %s", got)
	}
	bob.quit()
}

func TestHostileFiles(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "to")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	alice := join(t, "--downloads="+to)
	m := against(t, alice)
	m.ask(frame{}, "")
	alice.want(`\* m·.* is here.*`)
	offers := uint64(0)
	offer := func(name, data string) frame {
		sum := sha256.Sum256([]byte(data))
		offers++
		return frame{File: &transfer.Ask{Offer: transfer.Offer{ID: offers, Name: name, Size: int64(len(data)), Sum: sum[:]}, Data: true}}
	}
	early := mallory{t, newNode(t), alice.chat}
	if _, err := early.node.Connect(t.Context(), alice.chat.node.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if a := early.ask(offer("early", "hi"), "hi"); a.Bye != "busy" {
		t.Errorf("a file of a stranger: %+v", a)
	}
	good := offer("good.txt", "hi")
	for range 2 { // they may not have heard that it is here
		if a := m.ask(good, "hi"); a.Life == 0 || a.There.Have != 2 {
			t.Errorf("refused: %+v", a)
		}
		good.File.Have = 2
	}
	for _, name := range []string{"../up", "/tmp/up", "..", ".", "a/b", ".bashrc", "a\x1b[2J.txt", "a\n", "\u202egpj.exe", "good.txt", strings.Repeat("x", 5000), "x\x00"} {
		if a := m.ask(offer(name, "no"), "no"); a.Life != 0 || strings.Contains(a.Bye, dir) {
			t.Errorf("%q: %+v", name, a)
		}
	}
	for _, size := range []int64{-1, -1 << 63, 1 << 62} {
		f := offer("n", "no")
		f.File.Size = size
		if a := m.ask(f, "no"); a.Life != 0 {
			t.Errorf("%d bytes: %+v", size, a)
		}
	}
	if a := m.ask(offer("short", "hello"), "hi"); a.Life != 0 {
		t.Errorf("too short: %+v", a)
	}
	if a := m.ask(offer("other", "hello"), "hallo"); a.Bye != "it is not what was offered" {
		t.Errorf("with another sum: %+v", a)
	}
	if a := m.ask(offer("long", "lo"), strings.Repeat("lo", 1000)); a.There.Have != 2 {
		t.Errorf("a longer one: %+v", a)
	}
	for _, at := range []int64{-1, 1, 99} {
		f := offer("parts", "hello")
		f.File.Have = at
		if a := m.ask(f, "hello"); a.Life == 0 || a.There.Have != 0 {
			t.Errorf("from byte %d: %+v", at, a)
		}
	}
	f := offer("none", "")
	f.File.ID = 0
	if a := m.ask(f, ""); a.Life == 0 {
		t.Errorf("an offer without a number: %+v", a)
	}
	alice.quit()
	if got := filesIn(t, dir); got != "to/good.txt, to/long, to/none" {
		t.Errorf("stored: %s", got)
	}
	if strings.Contains(alice.all(), "\x1b") {
		t.Errorf("raw:\n%q", alice.all())
	}
}

// A receiver that claims less and less, or more than the file has, gets the file again and
// again, but nothing else.
func TestLyingTaker(t *testing.T) {
	n := newNode(t)
	lies := []int64{3, 2, -1, 1 << 62, 5}
	if _, err := n.Handle(protocol, 1, func(s *node.Stream) {
		in := bufio.NewReaderSize(s, maxFrame)
		f, _ := receive(in)
		answer := frame{Life: 1, Name: "m"}
		if f.File != nil && len(lies) > 0 {
			answer.There.Have, lies = lies[0], lies[1:]
		}
		send(s, answer)
	}); err != nil {
		t.Fatal(err)
	}
	alice := join(t, n.Ticket(t.Context()).String())
	alice.want(`\* m·.... is here.*`)
	file, _ := newFile(t, "five", 5)
	alice.say("/send " + file)
	alice.want(`\* .*/five to m·....: it is there`)
	alice.quit()
}
