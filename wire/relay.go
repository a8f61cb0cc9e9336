package wire

import (
	"math"
	"time"
)

// Reserve asks a peer to relay to the asker, for as long as the connection
// lives and the answer says.
type Reserve struct {
	Release bool // rather not any more
}

// Reserved answers Reserve.
type Reserved struct {
	Lifetime time.Duration // in seconds, less than 137 years; 0 after a release
	Rate     int           // bytes a second that are relayed to and from the asker, for each peer; 0 if not told
}

// Call calls a peer. It goes from the caller to a relay of the peer, and from the
// relay to the peer.
type Call struct {
	Peer PeerID // the callee; if Passed, the caller
	// Offer is a signed [CandidateOffer], 1 to MaxCandidateOffer bytes that the relay
	// passes on as they are.
	Offer   []byte
	Seen    Addr // from the relay where it sees the caller, always an IP address; "" if it does not tell
	Padding int  // bytes of no meaning, at most MaxPadding, that pay for as many sent to the caller's addresses
	Passed  bool // on by the relay
}

// Called answers Call. It goes from the peer to the relay, and on to the caller.
type Called struct {
	Offer   []byte // as in Call
	Seen    Addr   // from the relay where it sees the peer, always an IP address; "" if it does not tell
	Padding int    // as in Call
}

func (m Reserve) size() int              { return sizeUint(bit(m.Release)) }
func (m Reserve) encode(b []byte) []byte { return appendUint(b, 1, bit(m.Release)) }

func (m Reserved) size() int { return sizeUint(m.seconds()) + sizeUint(m.rate()) }

func (m Reserved) encode(b []byte) []byte {
	return appendUint(appendUint(b, 1, m.seconds()), 2, m.rate())
}

func (m Reserved) seconds() uint64 {
	return uint64(min(max(m.Lifetime/time.Second, 0), math.MaxUint32))
}

func (m Reserved) rate() uint64 { return uint64(min(max(m.Rate, 0), math.MaxInt32)) }

func (m Call) size() int {
	return sizeField(len(m.Peer)) + sizeBytes(len(m.Offer)) + sizeBytes(len(m.Seen)) + sizeBytes(m.Padding) + sizeUint(bit(m.Passed))
}

func (m Call) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Peer[:])
	b = appendBytes(b, 2, m.Offer)
	b = appendBytes(b, 3, m.Seen)
	b = appendPadding(b, 4, m.Padding)
	return appendUint(b, 5, bit(m.Passed))
}

func (m Called) size() int {
	return sizeBytes(len(m.Offer)) + sizeBytes(len(m.Seen)) + sizeBytes(m.Padding)
}

func (m Called) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Offer)
	b = appendBytes(b, 2, m.Seen)
	return appendPadding(b, 3, m.Padding)
}

func parseReserve(b []byte) (m Reserve, why reason) {
	c := scan(b)
	for c.next() {
		if c.is(1, varintType) {
			m.Release = c.bits != 0
		}
	}
	return m, c.or("")
}

func parseReserved(b []byte) (m Reserved, why reason) {
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, varintType):
			m.Lifetime = time.Duration(uint32(c.bits)) * time.Second
		case c.is(2, varintType):
			m.Rate = int(min(uint32(c.bits), math.MaxInt32))
		}
	}
	return m, c.or("")
}

func parseCall(b []byte) (m Call, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			if len(c.data()) != len(m.Peer) {
				return Call{}, badPeerID
			}
			m.Peer = PeerID(c.data())
		case c.is(2, bytesType):
			m.Offer = c.data()
		case c.is(3, bytesType):
			m.Seen = parseSeen(c.data())
		case c.is(4, bytesType):
			m.Padding, why = parsePadding(c.data())
		case c.is(5, varintType):
			m.Passed = c.bits != 0
		}
	}
	switch {
	case why != "" || c.bad:
	case !m.Peer.IsValid():
		why = badPeerID
	default:
		m.Offer, why = copyCandidateOffer(m.Offer)
	}
	return m, c.or(why)
}

func parseCalled(b []byte) (m Called, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			m.Offer = c.data()
		case c.is(2, bytesType):
			m.Seen = parseSeen(c.data())
		case c.is(3, bytesType):
			m.Padding, why = parsePadding(c.data())
		}
	}
	if why == "" && !c.bad {
		m.Offer, why = copyCandidateOffer(m.Offer)
	}
	return m, c.or(why)
}

// copyCandidateOffer copies a candidate offer out of a frame.
func copyCandidateOffer(b []byte) ([]byte, reason) {
	if len(b) == 0 || len(b) > MaxCandidateOffer {
		return nil, badCandidateOffer
	}
	return append([]byte(nil), b...), ""
}

func parsePadding(b []byte) (int, reason) {
	if len(b) > MaxPadding {
		return 0, tooLong
	}
	return len(b), ""
}
