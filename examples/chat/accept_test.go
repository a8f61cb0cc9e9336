package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// Without --downloads a file is offered, and comes when it is accepted.
func TestAcceptedFile(t *testing.T) {
	to := t.TempDir()
	t.Chdir(to)
	file, data := newFile(t, "plan.bin", 1<<20)
	alice := join(t, "--name=alice")
	bob := join(t, "--name=bob", alice.ticket())
	bob.want(`\* alice·.... is here.*`)
	alice.say("/accept")
	alice.want(`\* no such file is offered`)
	bob.say("/send " + file)
	alice.want(`\* bob·.... offers plan.bin, 1048576 bytes: /accept takes it, /cancel does not`)
	bob.want(`\* .*/plan.bin to alice·....: waits until they accept it`)
	bob.say("and this is said meanwhile")
	alice.want(`bob·....: and this is said meanwhile`)
	if got := filesIn(t, to); got != "" {
		t.Errorf("before it is accepted there are %s", got)
	}
	alice.say("/accept other.bin")
	alice.want(`\* no such file is offered`)
	alice.say("/accept")
	alice.want(`\* plan.bin from bob·.... is here: ` + regexp.QuoteMeta(filepath.Join(to, "plan.bin")))
	bob.want(`\* .*/plan.bin to alice·....: it is there`)
	if got, err := os.ReadFile(filepath.Join(to, "plan.bin")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("it came as %d bytes, %v", len(got), err)
	}
	bob.say("/send " + file)
	alice.want(`\* bob·.... offers plan.bin.*`)
	alice.say("/accept") // there is one of that name
	alice.want(`\* plan.bin from bob·....: file already exists`)
	bob.want(`\* .*/plan.bin to alice·....: they say: file already exists`)
	other, _ := newFile(t, "other.bin", 0) // what holds for the others holds for an empty one
	bob.say("/send " + other)
	alice.want(`\* bob·.... offers other.bin, 0 bytes.*`)
	alice.say("/cancel")
	alice.want(`\* other.bin from bob·....: cancelled`)
	bob.want(`\* .*/other.bin to alice·....: they say: cancelled`)
	bob.say("/send " + other)
	alice.want(`\* bob·.... offers other.bin.*`)
	bob.say("/cancel")
	bob.want(`\* .*/other.bin to alice·....: cancelled`)
	alice.want(`\* other.bin from bob·....: they gave it up`)
	alice.say("/accept")
	alice.want(`\* no such file is offered`)
	bob.say("/send " + other)
	alice.want(`\* bob·.... offers other.bin.*`)
	bob.typed.Close() // waits until it is accepted
	bob.want(`\* waiting until what you send has arrived.*`)
	alice.say("/accept")
	alice.want(`\* other.bin from bob·.... is here: .*`)
	bob.quit()
	if n := alice.count("offers"); n != 5 {
		t.Errorf("%d offers of 5 are told", n)
	}
	alice.quit()
}

// Two peers offer a file: the user has to say which one to accept.
func TestAcceptedFiles(t *testing.T) {
	to := t.TempDir()
	t.Chdir(to)
	_, bootstrap := network(t)
	alice := join(t, bootstrap, "--name=alice", "--room=tea")
	for _, name := range []string{"one", "two"} {
		file, _ := newFile(t, name, 5)
		p := join(t, bootstrap, "--name=bob", "--room=tea")
		p.want(`\* alice·.... is here.*`)
		p.say("/send " + file)
		alice.want(`\* bob·.... offers ` + name + `.*`)
	}
	alice.say("/accept")
	alice.want(`\* (one|two) from bob·....: /accept (one|two)`)
	alice.say("/accept two")
	alice.want(`\* two from bob·.... is here: .*`)
	alice.say("/accept")
	alice.want(`\* one from bob·.... is here: .*`)
	if got := filesIn(t, to); got != "one, two" {
		t.Errorf("there are %s", got)
	}
}

// A receiver that is killed in mid-file resumes from its part, unless that is damaged.
func TestReceiverKilled(t *testing.T) {
	for what, damage := range map[string]func(*os.File){
		"resumes": func(*os.File) {},
		"damaged": func(f *os.File) { f.WriteAt([]byte("damage"), 1<<20) },
	} {
		t.Run(what, func(t *testing.T) {
			to := t.TempDir()
			file, data := newFile(t, "long.bin", 64<<20)
			args := []string{"--key=" + filepath.Join(t.TempDir(), "id.pem"), "--name=alice", "--downloads=" + to}
			alice := start(t, args...)
			ticket := alice.ticket()
			bob := join(t, "--name=bob", ticket)
			bob.want(`\* alice·.... is here.*`)
			part := func() (name string, size int64) {
				names, _ := filepath.Glob(filepath.Join(to, ".*.part"))
				for _, name := range names {
					if info, err := os.Stat(name); err == nil {
						return name, info.Size()
					}
				}
				return "", 0
			}
			bob.say("/send " + file)
			for _, size := part(); size < 8<<20; _, size = part() {
				runtime.Gosched()
			}
			alice.proc.Kill()
			<-alice.done
			name, had := part()
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			damage(f)
			f.Close()
			bob.chat.node.ClosePeer(bob.chat.called.ID) // as time would
			port := regexp.MustCompile(`/udp/\d+`).FindString(ticket)
			again := startAt(t, "--listen=/ip4/127.0.0.1"+port+"/quic-v1", args...)
			least := had
			for {
				name, size := part()
				if name == "" {
					break // it has its own
				}
				least = min(least, size)
			}
			if resumed := least == had; resumed != (what == "resumes") {
				t.Errorf("of %d bytes it keeps %d", had, least)
			}
			again.want(`\* long.bin from bob·.... is here: .*`)
			bob.want(`\* .*/long.bin to alice·....: it is there`)
			if got, err := os.ReadFile(filepath.Join(to, "long.bin")); err != nil || !bytes.Equal(got, data) || filesIn(t, to) != "long.bin" {
				t.Errorf("it came as %d bytes, %v; there are %s", len(got), err, filesIn(t, to))
			}
			again.quit()
			bob.quit()
		})
	}
}

// Every input has an answer.
func TestCommands(t *testing.T) {
	alice := join(t, "--name=alice")
	alice.ticket()
	alice.say("/peers")
	alice.want(`\* nobody is here yet`)
	alice.say("hello?")
	alice.want(`\* nobody is here yet: that was sent to nobody`)
	alice.say("/send")
	alice.want(`\* /send FILE: which file\?`)
	alice.say("/nick bob")
	alice.want(`\* unknown command /nick; /help lists the commands`)
	alice.say("/help")
	for _, command := range []string{"/peers", "/send FILE", "/quit", "✓"} {
		alice.want(`\* .*` + command + `.*`)
	}
	bob := join(t, "--name=bob", alice.chat.node.Ticket(t.Context()).String())
	alice.want(`\* bob·.... is here.*`)
	alice.say("/send  ", "👨\u200d👩\u200d👧 می\u200cخواهم")
	alice.want(`\* /send FILE: which file\?`)
	bob.want("alice·....: 👨\u200d👩\u200d👧 می\u200cخواهم")
	if shown := bob.all(); strings.Contains(shown, "hello?") {
		t.Errorf("what was sent to nobody arrives:\n%s", shown)
	}
	bob.quit()
	alice.quit()
}
