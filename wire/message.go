package wire

import (
	"time"

	"github.com/kadquic/kadquic/routing"
)

// A Message is the body of a frame, already validated: one of the types below,
// as values. Fields not commented as optional are always there.
type Message interface{ isMessage() }

// Mode says whether a peer serves the network.
type Mode uint8

const (
	ModeServer Mode = 1 // answers requests, may enter tables
	ModeClient Mode = 2 // only asks; nobody's table keeps it
)

// String returns "server", "client" or "unknown".
func (m Mode) String() string {
	switch m {
	case ModeServer:
		return "server"
	case ModeClient:
		return "client"
	}
	return "unknown"
}

// Hello is the first frame each way, with id 0.
type Hello struct {
	Mode     Mode
	Agent    string    // the software; at most MaxAgent bytes, may be empty
	Clock    time.Time // the sender's clock; zero if not told
	Observed Addr      // where the sender sees the receiver, always IP; "" if not told
	Record   *Signed   // the sender's own peer record, unverified; nil if not told
}

// Observed tells a changed Hello.Observed. It has id 0.
type Observed struct {
	Addr Addr // always IP; "" if of a form not known here
}

// Ping asks whether the peer is alive.
type Ping struct{}

// Pong answers Ping.
type Pong struct{}

// FindNode asks for the contacts nearest to Key.
type FindNode struct {
	Key   routing.Key
	Count int // contacts wanted, 0 to MaxContacts
}

// Nodes answers FindNode.
type Nodes struct {
	Contacts []Contact // at most MaxContacts, nearest first
	Record   *Signed   // the peer record whose key is exactly the one asked for, unverified; nil if not held
}

// FindValue asks for records under Key, of one kind.
type FindValue struct {
	Key   routing.Key
	Kind  Kind
	Count int // contacts wanted, 0 to MaxContacts
}

// Value answers FindValue.
type Value struct {
	Records  []*Signed // at most MaxRecords, unverified, best first; empty if none held
	Contacts []Contact // at most MaxContacts, nearest first
}

// Store asks to keep records.
type Store struct {
	Records []*Signed // 1 to MaxStore, unverified
	Count   int       // contacts wanted, 0 to MaxContacts, nearest to the first record's key
	// Bound, unless zero, is a node's key: contacts farther from the first
	// record's key than it are not wanted.
	Bound routing.Key
}

// Stored answers Store.
type Stored struct {
	Results  []Code    // one for each record, in order; at most MaxStore
	Contacts []Contact // at most MaxContacts, nearest first
}

// Error answers a request that was not carried out. It is a Go error; it
// unwraps to its Code.
type Error struct {
	Code    Code   // never CodeOK
	Message string // for people; at most MaxErrorText bytes of UTF-8, may be empty
}

// Unknown is a message of a type not known here. A request is answered with
// CodeUnimplemented, anything else ignored.
type Unknown struct {
	Type int // the field number in Frame
}

func (Hello) isMessage()     {}
func (Observed) isMessage()  {}
func (Ping) isMessage()      {}
func (Pong) isMessage()      {}
func (FindNode) isMessage()  {}
func (Nodes) isMessage()     {}
func (FindValue) isMessage() {}
func (Value) isMessage()     {}
func (Store) isMessage()     {}
func (Stored) isMessage()    {}
func (Error) isMessage()     {}
func (Unknown) isMessage()   {}
