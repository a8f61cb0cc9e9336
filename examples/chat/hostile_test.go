package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
)

// newNode is a bare node on loopback.
func newNode(t *testing.T) *node.Node {
	t.Helper()
	listen, err := ma.NewMultiaddr("/ip4/127.0.0.1/udp/0/quic-v1")
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Config{Listen: []ma.Multiaddr{listen}})
	if err == nil {
		err = n.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// A mallory speaks the protocol as it likes.
type mallory struct {
	t    *testing.T
	node *node.Node
	chat *chat // whose victim
}

func against(t *testing.T, p *person) mallory {
	t.Helper()
	m := mallory{t, newNode(t), p.chat}
	called, err := parseTicket(p.ticket())
	if err == nil {
		_, err = m.node.Connect(t.Context(), called.addrs[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m mallory) open(protocol string) net.Conn {
	m.t.Helper()
	s, err := m.node.Dial(m.t.Context(), m.chat.node.ID(), protocol)
	if err != nil {
		m.t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(30 * time.Second))
	return s
}

// hello is a good one.
func (m mallory) hello(life uint64, name string) frame {
	return frame{Life: life, Name: name, Room: m.chat.proof(m.node.ID(), m.chat.node.ID())}
}

// ends reads to the end of a stream.
func (m mallory) ends(s net.Conn, what string) {
	m.t.Helper()
	if _, err := io.Copy(io.Discard, s); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			m.t.Errorf("after %s the stream goes on", what)
		}
	}
	s.Close()
}

func TestGarbage(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	wrong := m.hello(1, "x")
	wrong.Room = strings.Repeat("0", 64)
	line := func(v any) string { b, _ := json.Marshal(v); return string(b) + "\n" }
	good := line(m.hello(1, "x"))
	for what, b := range map[string]string{
		"no JSON":            "hello\n",
		"no object":          "[1]\n",
		"no life":            "{}\n",
		"a negative life":    `{"Life":-1}` + "\n",
		"another room":       line(wrong),
		"a line without end": strings.Repeat("x", 1<<20),
		"a giant number":     `{"Life":` + strings.Repeat("9", 10000) + "}\n",
		"deep nesting":       strings.Repeat("[", 30000) + "\n",
		"garbage afterwards": good + "\x00\xff\n",
		"a flood afterwards": good + strings.Repeat("y", 1<<20),
		"a wrong type":       good + `{"Text":7}` + "\n",
	} {
		s := m.open(talkProtocol)
		go io.WriteString(s, b)
		m.ends(s, what)
	}
	if n := alice.count("x·"); n == 0 || strings.Contains(alice.all(), wrong.Room) {
		t.Errorf("told:\n%s", alice.all())
	}
	alice.quit()
}

// What a peer says of itself and otherwise never reaches the terminal raw.
func TestEscapes(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	evil := "\x1b[2J\x1b]0;x\a\u202eevil\n* bob has left\r\xff" + strings.Repeat("a\u0301", 9)
	s := m.open(talkProtocol)
	send(s, m.hello(1, evil))
	send(s, frame{N: 1, Text: evil})
	send(s, frame{N: 1, Text: "doubled"})
	send(s, frame{N: 2, Text: strings.Repeat("w", maxText)})
	send(s, frame{N: 1 << 63, Text: "last"})
	send(s, frame{Of: alice.chat.life, Got: 1 << 62, Bye: evil})
	alice.want(`\* .*has left`)
	m.ends(s, "a goodbye")
	refused := m.open(talkProtocol)
	send(refused, frame{Life: 1, Bye: evil})
	m.ends(refused, "a refusal")
	alice.quit()
	shown := alice.all()
	for _, bad := range []string{"\x1b", "\a", "\r", "\u202e", "\n* bob has left", "doubled"} {
		if strings.Contains(shown, bad) {
			t.Errorf("%q is shown in\n%s", bad, shown)
		}
	}
	if !strings.Contains(shown, `\x1b[2J\x1b]0;x\a\u202eevil\n* bob has left\r`) || !strings.Contains(shown, ": last\n") {
		t.Errorf("shown:\n%s", shown)
	}
}

// Who talks too fast is slowed down, and shown no more of than the limit allows.
func TestFlood(t *testing.T) {
	t.Parallel()
	alice := join(t)
	m := against(t, alice)
	s := m.open(talkProtocol)
	send(s, m.hello(1, "m"))
	begun := time.Now()
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for i := range 100_000 {
			if send(s, frame{N: uint64(i + 1), Text: strings.Repeat("spam ", 100)}) != nil {
				return
			}
		}
	}()
	for range 150 {
		alice.want(`m·....: spam.*`)
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("150 messages are shown in %v", took)
	}
	alice.say("/peers") // what one types is obeyed all the same
	alice.want(`\* m·.*`)
	alice.quit()
	<-flooded
}

// Streams that say nothing take no more room than they are given, and leave room
// for those who do.
func TestSilentStreams(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	for range 3 * maxStreams {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		s, err := m.node.Dial(ctx, m.chat.node.ID(), talkProtocol)
		cancel()
		if err != nil {
			break // refused beneath
		}
		defer s.Close()
	}
	bob := join(t, ticket{alice.chat.node.ID(), alice.chat.node.Addrs()}.String())
	bob.want(`\* ·.... is here.*`)
	bob.quit()
	alice.quit()
}

func TestHostileFiles(t *testing.T) {
	to := t.TempDir()
	alice := join(t, "--downloads="+to)
	m := against(t, alice)
	offer := func(p parcel, data []byte) (no string) {
		t.Helper()
		s := m.open(fileProtocol)
		defer s.Close()
		in := bufio.NewReaderSize(s, maxFrame)
		send(s, p)
		var a parcel
		if err := receive(in, &a); err != nil {
			return err.Error()
		}
		if a.No == "" {
			s.Write(data)
			s.(interface{ CloseWrite() error }).CloseWrite()
			receive(in, &a)
		}
		return a.No
	}
	if no := offer(parcel{Name: "early", Size: 1}, nil); no != "refused" {
		t.Errorf("a file of a stranger: %q", no)
	}
	s := m.open(talkProtocol)
	send(s, m.hello(1, "m"))
	alice.want(`\* m·.* is here.*`)
	if no := offer(parcel{Name: "../../up\x1b[2J.txt", Size: 2}, []byte("hi")); no != "" {
		t.Errorf("refused: %q", no)
	}
	for _, p := range []parcel{{Name: "n", Size: -1}, {Name: "n", Size: 1 << 62}} {
		if no := offer(p, nil); no != "refused" {
			t.Errorf("%v: %q", p, no)
		}
	}
	offer(parcel{Name: "short", Size: 1000}, []byte("hi"))
	alice.want(`\* short from m·....: 2 of 1000 bytes, .*`)
	offer(parcel{Name: "long", Size: 2}, bytes.Repeat([]byte("long"), 1000))
	alice.want(`\* long from m·....: 2 of 2 bytes, .*`)
	garbage := m.open(fileProtocol)
	go io.WriteString(garbage, strings.Repeat("{", 1<<20))
	m.ends(garbage, "garbage")
	alice.quit()
	var names []string
	entries, _ := os.ReadDir(to)
	for _, e := range entries {
		info, _ := e.Info()
		names = append(names, fmt.Sprintf("%s %d", e.Name(), info.Size()))
	}
	if got := strings.Join(names, ", "); got != "long 2, up__2J.txt 2" {
		t.Errorf("stored: %s", got)
	}
	if strings.Contains(alice.all(), "\x1b") {
		t.Errorf("raw:\n%q", alice.all())
	}
}
