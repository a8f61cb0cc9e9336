package main

import "errors"

const (
	maxText   = 4 << 10 // bytes of a message
	maxQueued = 256     // messages kept for one peer
)

// A frame is a line of JSON on the stream of a conversation; what it leaves out is
// zero. The first is a hello: it has a Life.
type frame struct {
	Life uint64 `json:",omitempty"` // the sender's half of the conversation, drawn when its program starts
	Name string `json:",omitempty"` // what the sender calls itself
	Room string `json:",omitempty"` // proves that the sender knows the name of the room
	N    uint64 `json:",omitempty"` // number of this message, from 1
	Text string `json:",omitempty"`
	Of   uint64 `json:",omitempty"` // of the receiver's half, this Life,
	Got  uint64 `json:",omitempty"` // the messages up to this one are here
	Bye  string `json:",omitempty"` // the end, and why
}

// A talk is one end of a conversation, whatever becomes of the connections under
// it. Messages are numbered, and kept until the other end says that it has them;
// a new stream begins with those kept. So none is lost, and none is shown twice.
type talk struct {
	sent   uint64  // number of our last message
	queue  []frame // our messages that are kept, in order
	theirs uint64  // Life of the other end; 0 before its first hello
	got    uint64  // number of its last message that is here
}

// say queues a message.
func (t *talk) say(text string) error {
	if len(text) > maxText || len(t.queue) == maxQueued {
		return errors.New("it is too long, or too many wait already")
	}
	t.sent++
	t.queue = append(t.queue, frame{N: t.sent, Text: text})
	return nil
}

// meet notes who is at the other end. Another Life counts from 1.
func (t *talk) meet(life uint64) {
	if life != t.theirs {
		t.theirs, t.got = life, 0
	}
}

// take reports whether f brings a message that is new.
func (t *talk) take(f frame) bool {
	if f.N <= t.got || len(f.Text) > maxText {
		return false
	}
	t.got = f.N
	return true
}

// acked drops the messages of ours, life, that are at the other end by the word of
// f, and reports whether there were any.
func (t *talk) acked(life uint64, f frame) bool {
	n := 0
	for f.Of == life && n < len(t.queue) && t.queue[n].N <= f.Got {
		n++
	}
	t.queue = t.queue[n:]
	return n > 0
}
