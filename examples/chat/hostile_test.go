package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/transfer"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
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
	called, err := node.ParseTicket(p.ticket())
	if err == nil {
		_, err = m.node.Connect(t.Context(), called.Addrs[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m mallory) open() net.Conn {
	m.t.Helper()
	s, err := m.node.Dial(m.t.Context(), m.chat.node.ID(), protocol)
	if err != nil {
		m.t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patient))
	return s
}

// ask sends a valid hello with the fields of f, then more, and returns the answer.
func (m mallory) ask(f frame, more string) frame {
	m.t.Helper()
	s := m.open()
	defer s.Close()
	f.Life, f.Name, f.Room = 1, cmp.Or(f.Name, "m"), m.chat.hello.Room
	send(s, f)
	io.WriteString(s, more)
	s.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := receive(bufio.NewReaderSize(s, maxFrame))
	if err != nil {
		answer.Bye = err.Error()
	}
	return answer
}

func send(w io.Writer, f frame) error { return json.NewEncoder(w).Encode(f) }

// ends reads to the end of a stream.
func (m mallory) ends(s net.Conn, what string) {
	m.t.Helper()
	if _, err := io.Copy(io.Discard, s); errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Errorf("after %s the stream goes on", what)
	}
	s.Close()
}

func TestGarbage(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	for what, b := range map[string]string{
		"no JSON":            "hello\n",
		"no object":          "[1]\n",
		"no life":            "{}\n",
		"a negative life":    `{"Life":-1}` + "\n",
		"no key":             `{"Life":1,"Room":"tea"}` + "\n",
		"another room":       `{"Life":1,"Room":"` + strings.Repeat("0f", 32) + `"}` + "\n",
		"a line without end": strings.Repeat("x", 1<<20),
		"a giant number":     `{"Life":` + strings.Repeat("9", 10000) + "}\n",
		"deep nesting":       strings.Repeat("[", 30000) + "\n",
		"a wrong type":       `{"Life":1,"Said":7}` + "\n",
		"no end":             `{"Life":0}`,
	} {
		s := m.open()
		go io.WriteString(s, b)
		m.ends(s, what)
	}
	if n := alice.count("here"); n > 0 {
		t.Errorf("told:\n%s", alice.all())
	}
	s := m.open()
	go io.WriteString(s, `{"Life":1,"Name":"x","Room":"`+m.chat.hello.Room.String()+`"}`+"\n\x00\xff"+strings.Repeat("y", 1<<20))
	m.ends(s, "a flood behind a hello")
	alice.want(`\* x·.... is here, .*`)
	alice.quit()
}

// No text of a peer, about itself or otherwise, reaches the terminal raw.
func TestEscapes(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	evil := "\x1b[2J\x1b]0;x\a\u202eevil\n* bob has left\r\xff" + strings.Repeat("a\u0301", 9)
	m.ask(frame{Name: evil, N: 1, Said: []string{evil}}, "")
	m.ask(frame{Name: evil, N: 1, Said: []string{"doubled", strings.Repeat("w", maxText+1)}}, "")
	m.ask(frame{Name: evil, N: 1 << 63, Said: []string{"last"}}, "")
	m.ask(frame{Name: evil, N: math.MaxUint64, Said: []string{"the very last", "beyond"}}, "")
	m.ask(frame{Name: evil, File: &transfer.Ask{Offer: transfer.Offer{ID: 1, Name: evil, Size: 1}}}, "")
	m.ask(frame{Name: evil, Bye: evil}, "")
	alice.want(`.* has left.*`)
	alice.quit()
	shown := alice.all()
	for _, bad := range []string{"\x1b", "\a", "\r", "\u202e", "\n* bob has left", "doubled", "beyond"} {
		if strings.Contains(shown, bad) {
			t.Errorf("%q is shown in\n%s", bad, shown)
		}
	}
	for _, good := range []string{`\x1b[2J\x1b]0;x\a\u202eevil\n* bob has left\r`, ": last\"\n", ": the very last\"\n"} {
		if !strings.Contains(shown, good) {
			t.Errorf("%q is not shown in\n%s", good, shown)
		}
	}
}

// Answers of a peer are no more trustworthy than its requests.
func TestRefusedWithEscapes(t *testing.T) {
	n := newNode(t)
	if _, err := n.Handle(protocol, 1, func(s *node.Stream) {
		receive(bufio.NewReaderSize(s, maxFrame))
		send(s, frame{Bye: "\x1b[2Jgo away\n* bob has left"})
	}); err != nil {
		t.Fatal(err)
	}
	alice := join(t, n.Ticket(t.Context()).String())
	alice.want(`"?\* 12D3KooW.* is away; .*they say: .*go away.*`)
	alice.quit()
	if shown := alice.all(); strings.Contains(shown, "\x1b") || strings.Contains(shown, "\n* bob") {
		t.Errorf("shown:\n%s", shown)
	}
}

// A peer that never acknowledges does not get the same messages without a pause. An
// acknowledgement of messages that were never sent has no effect.
func TestLyingAnswers(t *testing.T) {
	n := newNode(t)
	asked := make(chan frame, 1000)
	if _, err := n.Handle(protocol, 1, func(s *node.Stream) {
		f, _ := receive(bufio.NewReaderSize(s, maxFrame))
		asked <- f
		send(s, frame{Life: 1, Name: "m", Got: 1 << 60})
	}); err != nil {
		t.Fatal(err)
	}
	alice := join(t, n.Ticket(t.Context()).String())
	alice.want(`\* m·.... is here.*`)
	alice.say("hello?")
	alice.want(`\* m·.... is away.*`)
	if len(asked) > 10 {
		t.Errorf("it was asked %d times", len(asked))
	}
	alice.chat.called.ID = wire.PeerID{} // does not wait for it
	alice.quit()
	if alice.count("✓") > 0 {
		t.Errorf("delivered:\n%s", alice.all())
	}
}

// A peer that floods neither silences other peers nor takes the memory.
func TestFlood(t *testing.T) {
	t.Parallel()
	alice := join(t)
	m := against(t, alice)
	spam := slices.Repeat([]string{strings.Repeat("spam ", 100)}, maxBatch)
	for i := range uint64(200) {
		m.ask(frame{N: i*maxBatch + 1, Said: spam}, "")
	}
	alice.say("/peers") // what one types is obeyed all the same
	alice.want(`\* m·.*12D3KooW.*`)
	if n := alice.count(": spam"); n != 200*maxBatch {
		t.Errorf("%d messages are shown", n)
	}
	alice.quit()
}

// Silent streams stay within their limit, and leave room for other streams.
func TestSilentStreams(t *testing.T) {
	alice := join(t)
	m := against(t, alice)
	for range 3 * maxStreams {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		s, err := m.node.Dial(ctx, m.chat.node.ID(), protocol)
		cancel()
		if err != nil {
			break // refused beneath
		}
		defer s.Close()
	}
	bob := join(t, alice.chat.node.Ticket(t.Context()).String())
	bob.want(`\* ·.... is here.*`)
	bob.quit()
	alice.quit()
}
