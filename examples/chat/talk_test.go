package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
)

// The other end shows each message once and in order, over any number of streams and whenever
// a stream is cut.
func TestNothingIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := &talk{}, &talk{}
		a.meet(2)
		b.meet(1)
		type stream struct {
			n    uint64
			way  []string // to b
			back uint64   // to a; 0: no answer yet
		}
		var streams []*stream
		var said, shown []string
		open := func() *stream { return &stream{n: a.told + 1, way: slices.Clone(a.queue)} }
		step := func(s *stream, do int) {
			switch do {
			case 0:
				if len(s.way) > 0 {
					if b.take(s.n, s.way[0]) {
						shown = append(shown, s.way[0])
					}
					s.n, s.way = s.n+1, s.way[1:]
				}
			case 1:
				s.back = b.got
			case 2:
				a.acked(s.back)
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch do := rapid.IntRange(0, 9).Draw(t, "do"); {
			case do == 0 && len(streams) < 3:
				streams = append(streams, open())
			case do == 1 && len(streams) > 0:
				i := rapid.IntRange(0, len(streams)-1).Draw(t, "cut")
				streams = slices.Delete(streams, i, i+1)
			case do == 2 && len(said) < maxQueued:
				said = append(said, fmt.Sprint(len(said)))
				if err := a.say(said[len(said)-1]); err != nil {
					t.Fatal(err)
				}
			case len(streams) > 0:
				step(streams[rapid.IntRange(0, len(streams)-1).Draw(t, "stream")], do%3)
			}
		}
		last := open()
		for range len(last.way) {
			step(last, 0)
		}
		step(last, 1)
		step(last, 2)
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
	for _, never := range []uint64{0, maxQueued + 1, 1 << 63} {
		if talk.acked(never) || len(talk.queue) != maxQueued {
			t.Errorf("message %d was acknowledged, which was never told", never)
		}
	}
	if !talk.acked(1) || talk.acked(1) || !talk.acked(maxQueued) || len(talk.queue) != 0 || talk.acked(maxQueued) {
		t.Error("not all were acknowledged, once")
	}
}

func TestRestartedPeerCountsFromOne(t *testing.T) {
	var talk talk
	talk.meet(5)
	talk.take(9, "")
	if talk.meet(5); talk.take(9, "") {
		t.Error("a message was taken twice")
	}
	if talk.meet(6); !talk.take(1, "") {
		t.Error("the first of a new half was not taken")
	}
	if talk.take(2, strings.Repeat("x", maxText+1)) {
		t.Error("too long a message was taken")
	}
}

// The largest batch fits a frame, however JSON escapes it.
func TestFrameHoldsABatch(t *testing.T) {
	f := frame{Life: math.MaxUint64, Name: strings.Repeat("\x00", 64), Room: routing.KeyOf(""), N: math.MaxUint64}
	for range maxBatch {
		f.Said = append(f.Said, strings.Repeat("\x00", maxText))
	}
	var b bytes.Buffer
	send(&b, f)
	if got, err := receive(bufio.NewReaderSize(&b, maxFrame)); err != nil || len(got.Said) != maxBatch || got.Said[3] != f.Said[3] {
		t.Errorf("a full frame is not received: %v", err)
	}
}
