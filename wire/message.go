package wire

import (
	"strconv"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// A Message is the body of a frame. It is one of the types below, as a value,
// not a pointer; one that ParseFrame returned is within all their limits.
type Message interface {
	// body returns the field number in Frame.
	body() int
	// size is the number of bytes that encode appends.
	size() int
	encode(b []byte) []byte
}

// Field numbers of the bodies in Frame. The gaps are those that kad.proto
// reserves.
const (
	bodyHello     = 2
	bodyError     = 3
	bodyPing      = 4
	bodyPong      = 5
	bodyFindNode  = 6
	bodyNodes     = 7
	bodyFindValue = 8
	bodyValue     = 9
	bodyStore     = 10
	bodyStored    = 11
	bodyObserved  = 12

	bodyGetProviders = 14
	bodyProviders    = 15

	bodyDialBack = 16
	bodyDialled  = 17

	bodyReserve  = 18
	bodyReserved = 19
	bodyCall     = 20
	bodyCalled   = 21

	bodyOffer  = 24
	bodyWanted = 25

	firstBody, lastBody = 2, 63
)

// Mode says whether a peer serves the network.
type Mode uint8

const (
	ModeUnknown Mode = 0
	ModeServer  Mode = 1 // answers requests and may enter tables
	ModeClient  Mode = 2 // only sends requests; enters no table
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

// Hello is the first frame each way; it is sent again when it changes. Its
// frame has id 0.
type Hello struct {
	Mode     Mode
	Agent    string    // the software, at most MaxAgent bytes of UTF-8; may be empty
	Clock    time.Time // the sender's clock in milliseconds, UTC; zero if not told
	Observed Addr      // where the sender sees the receiver, always an IP address; "" if not told
	Record   *Signed   // the sender's own peer record, not yet verified; nil if not told
	DialBack bool      // the sender, a client that dialled, only tests whether the address reaches the receiver
}

// Observed is Hello.Observed alone, sent when only that changed. Its frame has
// id 0.
type Observed struct {
	Addr Addr // always an IP address; "" if of a form not known here
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
	Contacts []Contact // at most MaxContacts, the nearest first
	Record   *Signed   // the peer record whose key is exactly the one asked for, not yet verified; nil if not held
}

// FindValue asks for the records of one kind under Key.
type FindValue struct {
	Key   routing.Key
	Kind  Kind
	Count int // contacts wanted, 0 to MaxContacts
	// All asks for all of them, page by page, not for the best only. The page
	// begins behind the publisher After, in the order of public keys; if that is
	// zero, at the first.
	All   bool
	After PeerID
}

// Value answers FindValue.
type Value struct {
	// Records are at most MaxRecords, not yet verified, the best first; to All at
	// most MaxPage, by publisher. Empty if none is held.
	Records  []*Signed
	Contacts []Contact // at most MaxContacts, the nearest first
	More     bool      // to All: there are others behind the last
}

// Store asks to keep records.
type Store struct {
	Records []*Signed // 1 to MaxStore, not yet verified
	Count   int       // contacts wanted, nearest to the first record's key, 0 to MaxContacts
	// Bound is the key of the farthest of the nearest nodes that the sender
	// knows: of contacts, only those nearer than it to the first record's key are
	// worth naming. Zero for no bound.
	Bound routing.Key
	// IfSeq, if not nil, makes it a compare-and-set: there is exactly one record,
	// an owned one, and it is to be kept only if the highest sequence that the
	// holder holds or remembers under its key is exactly IfSeq, 0 meaning none.
	// Otherwise the result is CodeConflict.
	IfSeq *uint64
}

// Stored answers Store.
type Stored struct {
	Results  []Code    // of each record, in the order of the request; at most MaxStore
	Contacts []Contact // at most MaxContacts, the nearest first
}

// GetProviders asks for the provider records under Key, page by page.
type GetProviders struct {
	Key   routing.Key
	Count int // contacts wanted, 0 to MaxContacts
	// After is the publisher behind which the page begins, in the order of public
	// keys. Zero: the page begins at the first.
	After PeerID
}

// Providers answers GetProviders.
type Providers struct {
	Records  []*Signed // at most MaxPage, not yet verified; by publisher
	More     bool      // there are others behind the last
	Contacts []Contact // at most MaxContacts, the nearest first
}

// Error answers a request that was not carried out. It is a Go error too, and
// unwraps to its Code.
type Error struct {
	Code    Code   // never CodeOK
	Message string // for people, at most MaxErrorText bytes of UTF-8; may be empty
}

// Unknown is a body of a type not known here.
type Unknown struct {
	Type int // its field number in Frame
}

// Error says what the code means and quotes the peer's message, which may hold
// anything.
func (e Error) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return e.Code.Error() + ": " + strconv.Quote(e.Message)
}

// Unwrap returns the code, for errors.Is(err, CodeBusy) and the like.
func (e Error) Unwrap() error { return e.Code }

// IsRequest reports whether f asks for an answer: its id is not 0 and its type's
// number is even, as in kad.proto. HELLO and OBSERVED are notices whatever their id.
func (f Frame) IsRequest() bool {
	if f.ID == 0 || f.Body == nil {
		return false
	}
	typ := f.Body.body()
	return typ%2 == 0 && typ != bodyHello && typ != bodyObserved
}

// IsReply reports whether f answers a request, by the number of its type.
func (f Frame) IsReply() bool { return f.Body != nil && f.Body.body()%2 == 1 }

func (Hello) body() int     { return bodyHello }
func (Error) body() int     { return bodyError }
func (Ping) body() int      { return bodyPing }
func (Pong) body() int      { return bodyPong }
func (FindNode) body() int  { return bodyFindNode }
func (Nodes) body() int     { return bodyNodes }
func (FindValue) body() int { return bodyFindValue }
func (Value) body() int     { return bodyValue }
func (Store) body() int     { return bodyStore }
func (Stored) body() int    { return bodyStored }
func (Observed) body() int  { return bodyObserved }

func (GetProviders) body() int { return bodyGetProviders }
func (Providers) body() int    { return bodyProviders }
func (Offer) body() int        { return bodyOffer }
func (Wanted) body() int       { return bodyWanted }

func (DialBack) body() int { return bodyDialBack }
func (Dialled) body() int  { return bodyDialled }
func (Reserve) body() int  { return bodyReserve }
func (Reserved) body() int { return bodyReserved }
func (Call) body() int     { return bodyCall }
func (Called) body() int   { return bodyCalled }

func (u Unknown) body() int { return u.Type }
