package wire

import "strconv"

// A Code is a peer's answer in place of a result, or about one. It is
// an error; errors.Is finds it in an [Error] that a peer sent. Codes a newer
// peer may send are kept as numbers.
type Code uint32

const (
	CodeOK            Code = 0 // done; a Stored result only
	CodeBadRequest    Code = 1 // the request breaks a rule of SPEC.md
	CodeUnimplemented Code = 2 // the answerer does not know this request or kind
	CodeBusy          Code = 3 // over a limit; ask again later or elsewhere
	CodeInternal      Code = 4 // the answerer failed

	// Results of storing one record.

	CodeInvalid Code = 5  // signature, key or form is wrong
	CodeExpired Code = 6  // its expiry has passed
	CodeAhead   Code = 7  // it expires more than MaxTTL + MaxSkew ahead
	CodeStale   Code = 8  // the holder has, or had, a newer one
	CodeFull    Code = 9  // a quota of the holder is used up
	CodeTooFar  Code = 10 // the holder keeps a cached copy at most: its own key is too far from the record's

	CodeConflict Code = 11 // the holder has another version than the sender expects
	CodeReadOnly Code = 12 // the holder cannot write to its disk at present

	CodeUnreachable Code = 13 // the address did not answer, or another peer answered; or the callee has no reservation there
)

var codeNames = [...]string{
	"OK", "BAD_REQUEST", "UNIMPLEMENTED", "BUSY", "INTERNAL",
	"INVALID", "EXPIRED", "AHEAD", "STALE", "FULL", "TOO_FAR",
	"CONFLICT", "READ_ONLY", "UNREACHABLE",
}

var codeTexts = [...]string{
	"ok",
	"malformed request",
	"not implemented by the peer",
	"peer is busy",
	"peer failed",
	"record is not valid",
	"record has expired",
	"record expires too far ahead",
	"peer holds a newer record",
	"peer has no room for the record",
	"peer is too far from the key to hold the record",
	"peer holds another version than expected",
	"peer cannot write to its disk",
	"peer cannot be reached there",
}

// String returns the name of the code in kad.proto without its prefix, or its
// number.
func (c Code) String() string {
	if int64(c) < int64(len(codeNames)) {
		return codeNames[c]
	}
	return "CODE_" + strconv.FormatUint(uint64(c), 10)
}

// Error says in words what the code means.
func (c Code) Error() string {
	if int64(c) < int64(len(codeTexts)) {
		return codeTexts[c]
	}
	return "peer answered with code " + strconv.FormatUint(uint64(c), 10)
}

// Why a connection is closed: QUIC application error codes of CONNECTION_CLOSE
// (RFC 9000 §19.19).
const (
	CloseNone      uint64 = 0 // no reason given
	CloseLeaving   uint64 = 1 // the node shuts down
	CloseIdle      uint64 = 2 // unused for the idle time; no side is at fault
	CloseDuplicate uint64 = 3 // another connection to the same peer stays
	CloseProtocol  uint64 = 4 // the peer broke a rule of SPEC.md
	CloseRefused   uint64 = 5 // the peer is not admitted to this network
	CloseBusy      uint64 = 6 // too many connections, or too many from one place
)

// Why a stream is reset or no longer read: QUIC application error codes of
// RESET_STREAM and STOP_SENDING (RFC 9000 §19.4, §19.5).
const (
	ResetNone            uint64 = 0 // closed before the end
	ResetUnknownProtocol uint64 = 1 // no listener for the protocol that the header names
	ResetCancelled       uint64 = 2 // the user gave up
	ResetProtocol        uint64 = 3 // no valid stream header, or not in time
	ResetBusy            uint64 = 4 // too many streams, or the listener's queue is full
	ResetLeaving         uint64 = 5 // the node shuts down
)
