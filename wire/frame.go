package wire

import (
	"errors"
	"fmt"
	"strconv"
)

// A Frame is one message and the id that pairs a request with its answer. Each
// side numbers its own requests, from 1; the answer repeats the number. A message
// that expects no answer has id 0.
type Frame struct {
	ID   uint64
	Body Message
}

// ErrMalformed reports bytes that are not a frame. A peer that sends them speaks
// another protocol, and the rest of the stream cannot be parsed.
var ErrMalformed = errors.New("wire: malformed frame")

// ErrTooLarge is the error for a frame longer than the limit.
var ErrTooLarge = errors.New("wire: frame too large")

// An InvalidError is the error for a frame whose body breaks a rule. The frames
// after it are not affected. A request is answered with Code.
type InvalidError struct {
	Type   int // the body's field number in Frame
	Code   Code
	Reason string // such as "too many contacts"; written by this package, not by the peer
}

func (e *InvalidError) Error() string {
	name := "message of type " + strconv.Itoa(e.Type)
	if e.Type < len(bodyNames) && bodyNames[e.Type] != "" {
		name = bodyNames[e.Type]
	}
	return "invalid " + name + ": " + e.Reason
}

var bodyNames = [...]string{
	bodyHello: "HELLO", bodyError: "ERROR", bodyPing: "PING", bodyPong: "PONG",
	bodyFindNode: "FIND_NODE", bodyNodes: "NODES", bodyFindValue: "FIND_VALUE", bodyValue: "VALUE",
	bodyStore: "STORE", bodyStored: "STORED", bodyObserved: "OBSERVED",
	bodyGetProviders: "GET_PROVIDERS", bodyProviders: "PROVIDERS", bodyOffer: "OFFER", bodyWanted: "WANTED",
	bodyDialBack: "DIAL_BACK", bodyDialled: "DIALLED",
	bodyReserve: "RESERVE", bodyReserved: "RESERVED", bodyCall: "CALL", bodyCalled: "CALLED",
}

// ParseFrame reads and validates one frame without its length prefix. The
// result keeps no reference to b, and takes memory in proportion to it.
//
// Unknown fields are passed over; a body of an unknown type is an Unknown.
// The error wraps ErrMalformed or is an *InvalidError; with the latter the frame
// has its ID and an Unknown body, so that IsRequest holds and it can be answered.
func ParseFrame(b []byte) (Frame, error) {
	var f Frame
	typ := 0
	var body []byte
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, varintType):
			f.ID = c.bits
		case c.typ == bytesType && c.num >= firstBody && c.num <= lastBody:
			if typ != 0 {
				return Frame{}, fmt.Errorf("%w: two bodies", ErrMalformed)
			}
			typ, body = int(c.num), c.data()
		}
	}
	switch {
	case c.bad:
		return Frame{}, ErrMalformed
	case typ == 0:
		return Frame{}, fmt.Errorf("%w: no body", ErrMalformed)
	}
	m, why, ok := parseBody(typ, body)
	if ok && why == "" {
		f.Body = m
		return f, nil
	}
	f.Body = Unknown{typ}
	if !ok {
		return f, nil
	}
	e := &InvalidError{Type: typ, Code: CodeBadRequest, Reason: string(why)}
	if why == unknownKind {
		e.Code = CodeUnimplemented
	}
	return f, e
}
