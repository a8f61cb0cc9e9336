package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/wire"
)

// Whatever is cut when, and over however many streams at once: what one end says
// the other shows once and in order.
func TestNothingIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := &talk{}, &talk{}
		a.meet(2)
		b.meet(1)
		type stream struct {
			said uint64
			way  []frame // to b
			back []frame // to a
		}
		var streams []*stream
		var said, shown []string
		step := func(s *stream, do int) {
			switch do {
			case 0:
				for _, f := range a.queue {
					if f.N > s.said {
						s.way, s.said = append(s.way, f), f.N
					}
				}
			case 1:
				if len(s.way) > 0 {
					if f := s.way[0]; b.take(f) {
						shown = append(shown, f.Text)
					}
					s.way = s.way[1:]
				}
			case 2:
				s.back = append(s.back, frame{Of: 1, Got: b.got})
			case 3:
				if len(s.back) > 0 {
					a.acked(1, s.back[0])
					s.back = s.back[1:]
				}
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch do := rapid.IntRange(0, 9).Draw(t, "do"); {
			case do == 0 && len(streams) < 3:
				streams = append(streams, &stream{})
			case do == 1 && len(streams) > 0:
				i := rapid.IntRange(0, len(streams)-1).Draw(t, "cut")
				streams = slices.Delete(streams, i, i+1)
			case do == 2 && len(said) < maxQueued:
				said = append(said, fmt.Sprint(len(said)))
				if err := a.say(said[len(said)-1]); err != nil {
					t.Fatal(err)
				}
			case len(streams) > 0:
				step(streams[rapid.IntRange(0, len(streams)-1).Draw(t, "stream")], do%4)
			}
		}
		last := &stream{}
		step(last, 0)
		for range last.way {
			step(last, 1)
		}
		step(last, 2)
		step(last, 3)
		if !slices.Equal(said, shown) || len(a.queue) > 0 {
			t.Fatalf("said %v, shown %v, kept %v", said, shown, a.queue)
		}
	})
}

func TestTalkIsBounded(t *testing.T) {
	var talk talk
	if talk.say(strings.Repeat("x", maxText+1)) == nil {
		t.Error("too long a message was taken")
	}
	for range maxQueued {
		if err := talk.say("x"); err != nil {
			t.Fatal(err)
		}
	}
	if talk.say("x") == nil {
		t.Error("too many messages were taken")
	}
	if talk.acked(7, frame{Of: 8, Got: 9}) || talk.acked(7, frame{}) || len(talk.queue) != maxQueued {
		t.Error("messages of another half were acknowledged")
	}
	if !talk.acked(7, frame{Of: 7, Got: 1 << 63}) || len(talk.queue) != 0 {
		t.Error("not all were acknowledged")
	}
}

func TestANewHalfCountsAnew(t *testing.T) {
	var talk talk
	talk.meet(5)
	talk.take(frame{N: 9})
	if talk.meet(5); talk.take(frame{N: 9}) {
		t.Error("a message was taken twice")
	}
	if talk.meet(6); !talk.take(frame{N: 1}) {
		t.Error("the first of a new half was not taken")
	}
	if talk.take(frame{N: 2, Text: strings.Repeat("x", maxText+1)}) {
		t.Error("too long a message was taken")
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"good day, Zoë 🙂 \"quoted\" a\\b": "good day, Zoë 🙂 \"quoted\" a\\b",
		"\x1b]0;title\a\x1b[2J":           `\x1b]0;title\a\x1b[2J`,
		"abc\u202edcba":                   `abc\u202edcba`,
		"two\nlines\r\t\x00\x7f\u0085":    `two\nlines\r\t\x00\x7f\u0085`,
		"\xff\xc0\xafok":                  `\xff\xc0\xafok`,
		"\u2066\u200f\ufeff\u2028":        `\u2066\u200f\ufeff\u2028`,
		strings.Repeat("é", 100):          strings.Repeat("é", 25) + "…",
	} {
		if got := plain(in, 51); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"plan.pdf":               "plan.pdf",
		"../../etc/passwd":       "passwd",
		`..\..\boot.ini`:         "boot.ini",
		"..":                     "file-",
		"":                       "file-",
		"a/":                     "file-",
		".bashrc":                "bashrc",
		"a\x1b[2J\u202e:b\n.txt": "a__2J__b_.txt",
		"Grüße (1).txt":          "Grüße (1).txt",
		"x\x00\xff.txt":          "x__.txt",
		strings.Repeat("é", 99):  strings.Repeat("é", 50),
	} {
		if got := safeName(in); got != want {
			t.Errorf("safeName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTicket(t *testing.T) {
	id := wire.PeerID{1, 2, 3}
	relay := wire.PeerID{4}
	addr := func(s string) ma.Multiaddr {
		m, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	public := addr("/ip4/192.0.2.1/udp/4774/quic-v1/p2p/" + id.String())
	through := addr("/ip4/192.0.2.9/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit/p2p/" + id.String())
	loop := addr("/ip4/127.0.0.1/udp/4774/quic-v1/p2p/" + id.String())
	text := ticket{id, []ma.Multiaddr{public, through, loop}}.String()
	want := id.String() + "@/ip4/192.0.2.1/udp/4774/quic-v1,/ip4/192.0.2.9/udp/4774/quic-v1/p2p/" + relay.String() + "/p2p-circuit"
	if text != want {
		t.Errorf("the ticket is %s\nwant %s", text, want)
	}
	back, err := parseTicket(text)
	if err != nil || back.id != id || len(back.addrs) != 2 || !back.addrs[0].Equal(public) || !back.addrs[1].Equal(through) {
		t.Errorf("it is read as %v, %v", back, err)
	}
	if got, err := parseTicket(public.String()); err != nil || got.id != id || !got.addrs[0].Equal(public) {
		t.Errorf("an address is read as %v, %v", got, err)
	}
	if got, err := parseTicket(id.String()); err != nil || got.id != id || got.addrs != nil {
		t.Errorf("an ID is read as %v, %v", got, err)
	}
	if got := (ticket{id, []ma.Multiaddr{loop}}).String(); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("a node on loopback only has the ticket %s", got)
	}
	for _, bad := range []string{"", "@", "bob", "/", "/p2p/", text[:60], text[:100], "12D3KooW@/ip4/1.2.3.4", id.String() + "@x"} {
		if got, err := parseTicket(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
