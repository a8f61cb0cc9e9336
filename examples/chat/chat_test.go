package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Two people, each with the program itself and no network but each other.
func TestTwo(t *testing.T) {
	alice := start(t, "--name=alice")
	bob := start(t, "--name=bob", alice.ticket())
	alice.want(`\* bob·.... is here, direct 127.0.0.1:\d+`)
	bob.want(`\* alice·.... is here, direct 127.0.0.1:\d+`)
	bob.say("hello, alice", "/help")
	alice.want("bob·....: hello, alice")
	bob.want("  ✓")
	alice.say("hello yourself", "/path")
	alice.want(`\* bob·.... +12D3KooW\w+ +direct 127.0.0.1:\d+`)
	bob.want("alice·....: hello yourself")
	alice.want("  ✓")
	bob.quit()
	alice.want(`\* bob·.... has left`)
	alice.quit()
}

// A line piped into the program arrives, though the input ends at once.
func TestPiped(t *testing.T) {
	alice := join(t)
	bob := start(t, alice.ticket())
	bob.say("just this")
	bob.quit()
	alice.want("·....: just this")
	alice.want(`\* ·.... has left`)
}

func TestRoomOfThree(t *testing.T) {
	_, bootstrap := network(t)
	others := start(t, bootstrap, "--name=mallory", "--room=coffee")
	alice := start(t, bootstrap, "--name=alice", "--room=tea")
	bob := start(t, bootstrap, "--name=bob", "--room=tea")
	alice.want(`\* bob·.... is here, .*`)
	carol := start(t, bootstrap, "--name=carol", "--room=tea")
	alice.want(`\* carol·.... is here, .*`)
	bob.want(`\* carol·.... is here, .*`)
	carol.want(`\* .* is here, .*`)
	carol.want(`\* .* is here, .*`)
	carol.say("tea?")
	alice.want("carol·....: tea.")
	bob.want("carol·....: tea.")
	carol.want("  ✓")
	if n := carol.count("✓"); n != 1 {
		t.Errorf("%d marks for one message", n)
	}
	bob.quit()
	alice.want(`\* bob·.... has left`)
	carol.want(`\* bob·.... has left`)
	alice.say("just us")
	carol.want("alice·....: just us")
	carol.quit()
	alice.quit()
	if others.count("is here") > 0 {
		t.Errorf("another room:\n%s", others.all())
	}
	others.quit()
}

// A peer is found through the network by its ID. A third caller is told that the peer talks
// with another.
func TestByIDAndBusy(t *testing.T) {
	t.Parallel()
	_, bootstrap := network(t)
	alice := join(t, bootstrap)
	id, _, _ := strings.Cut(alice.ticket(), "@")
	bob := join(t, bootstrap, id)
	bob.want(`\* ·.... is here, .*`)
	carol := join(t, bootstrap, id)
	carol.want(`\* 12D3KooW\w+ is talking with somebody else; what you say is kept until they are free`)
	bob.quit()
	alice.want(`\* ·.... has left`)
	carol.want(`\* ·.... is here, .*`)
	carol.quit()
	alice.quit()
}

// The connection is cut again and again while both talk.
func TestCutConnections(t *testing.T) {
	alice := join(t)
	bob := join(t, alice.ticket())
	alice.want(`\* .* is here.*`)
	bob.want(`\* .* is here.*`)
	const n = 60
	for i := range n {
		alice.say(fmt.Sprintf("from alice %d", i))
		bob.say(fmt.Sprintf("from bob %d", i))
		switch i % 20 {
		case 5:
			bob.chat.node.ClosePeer(alice.chat.node.ID())
		case 15:
			alice.chat.node.ClosePeer(bob.chat.node.ID())
		}
	}
	bob.want(fmt.Sprintf("·....: from alice %d", n-1))
	alice.want(fmt.Sprintf("·....: from bob %d", n-1))
	bob.quit()
	alice.quit()
	for who, p := range map[string]*person{"bob": alice, "alice": bob} {
		lines := regexp.MustCompile(`(?m): from `+who+` (\d+)$`).FindAllStringSubmatch(p.all(), -1)
		for i, l := range lines {
			if l[1] != fmt.Sprint(i) {
				t.Fatalf("message %s of %s comes as %d", l[1], who, i)
			}
		}
		if len(lines) != n {
			t.Errorf("%d messages of %s, want %d", len(lines), who, n)
		}
	}
}

// A program that is killed and started again with its key is in a new conversation,
// in which what it did not have arrives.
func TestKilledAndBack(t *testing.T) {
	key := "--key=" + filepath.Join(t.TempDir(), "deep", "id.pem")
	alice := start(t, key, "--name=alice")
	ticket := alice.ticket()
	bob := join(t, ticket)
	bob.want(`\* alice·.... is here.*`)
	alice.say("one", "two")
	bob.want("alice·....: two")
	alice.proc.Kill()
	<-alice.done
	bob.chat.node.ClosePeer(bob.chat.called.ID) // as time would
	bob.want(`\* alice·.... is away.*`)
	bob.say("are you there?")
	port := regexp.MustCompile(`/udp/\d+`).FindString(ticket)
	again := startAt(t, "--listen=/ip4/127.0.0.1"+port+"/quic-v1", key, "--name=alice")
	again.want(`·....: are you there\?`)
	bob.want(`\* alice·.... is here, .*`)
	bob.want("  ✓")
	again.say("in the new one")
	bob.want("alice·....: in the new one")
	again.want("  ✓")
	again.quit()
	bob.want(`\* alice·.... has left`)
	bob.quit()
}

func TestInterrupted(t *testing.T) {
	alice := start(t)
	bob := join(t, alice.ticket())
	bob.want(`\* .* is here.*`)
	alice.proc.Signal(syscall.SIGINT)
	bob.want(`\* ·.... has left`)
	<-alice.done
	if alice.err != nil {
		t.Errorf("%v\n%s", alice.err, alice.all())
	}
	bob.quit()
}

func TestNotDelivered(t *testing.T) {
	t.Parallel()
	alice := join(t)
	bob := join(t, alice.chat.node.ID().String())
	bob.say("/peers")
	for _, line := range []string{`\* 12D3KooW\w+ is away; .*not found`, `\* 12D3KooW\w+  12D3KooW\w+  (calling|away)`} {
		bob.want(line)
		bob.seen = 0 // whichever is first
	}
	bob.say("hello?")
	bob.typed.Close()
	<-bob.done
	if bob.err == nil || !strings.Contains(bob.err.Error(), "not all that was said") {
		t.Errorf("the end is %v", bob.err)
	}
	alice.quit()
}

func TestWrongUsage(t *testing.T) {
	alice := join(t)
	ticket := alice.ticket()
	key := "--key=" + filepath.Join(t.TempDir(), "id.pem")
	self, err := newChat([]string{key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newChat([]string{key}); err == nil || !strings.Contains(err.Error(), "--ephemeral") {
		t.Errorf("a second chat of one identity: %v", err)
	}
	self.lock()
	for _, args := range [][]string{
		{"--ephemeral", "bob"},
		{"--ephemeral", ticket, "extra"},
		{"--ephemeral", "--room=tea", ticket},
		{"--ephemeral", "--listen=here"},
		{"--ephemeral", "--bootstrap=there"},
		{key, self.node.ID().String()},
		{"--key=" + t.TempDir()},
	} {
		if _, err := newChat(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	alice.quit()
}
