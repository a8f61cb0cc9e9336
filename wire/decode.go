package wire

import (
	"unicode/utf8"

	"github.com/kadquic/kadquic/routing"
)

// A reason says what is wrong with a message; "" is nothing.
type reason string

const (
	notProtobuf       reason = "not protobuf"
	twice             reason = "a field twice"
	noKey             reason = "no key of 32 bytes"
	badPeerID         reason = "no valid peer ID of 32 bytes"
	badMode           reason = "no mode"
	noKind            reason = "no kind"
	unknownKind       reason = "unknown kind"
	badCode           reason = "no error code"
	badText           reason = "text is not UTF-8"
	tooLong           reason = "text or value too long"
	badTime           reason = "time out of range"
	badPayload        reason = "record of no or too many bytes"
	badSignature      reason = "no signature of 64 bytes"
	noRecords         reason = "no records"
	badIfSeq          reason = "if_seq without exactly one owned record"
	badPrint          reason = "no print of 16 bytes"
	badCandidateOffer reason = "no candidate offer of 1 to 1024 bytes"
	tooManyWants      reason = "too many bits"
	tooManyRecords    reason = "too many records"
	tooManyContacts   reason = "too many contacts"
	tooManyAddrs      reason = "too many addresses"
	tooManyRelays     reason = "too many relays"
)

// parseBody reads the body of a known type; ok is false for others.
func parseBody(typ int, b []byte) (m Message, why reason, ok bool) {
	ok = true
	switch typ {
	case bodyHello:
		m, why = parseHello(b)
	case bodyError:
		m, why = parseError(b)
	case bodyPing:
		m, why = Ping{}, parseEmpty(b)
	case bodyPong:
		m, why = Pong{}, parseEmpty(b)
	case bodyFindNode:
		m, why = parseFindNode(b)
	case bodyNodes:
		m, why = parseNodes(b)
	case bodyFindValue:
		m, why = parseFindValue(b)
	case bodyValue:
		m, why = parseValue(b)
	case bodyStore:
		m, why = parseStore(b)
	case bodyStored:
		m, why = parseStored(b)
	case bodyObserved:
		m, why = parseObserved(b)
	case bodyGetProviders:
		m, why = parseGetProviders(b)
	case bodyProviders:
		m, why = parseProviders(b)
	case bodyDialBack:
		m, why = parseDialBack(b)
	case bodyDialled:
		m, why = parseDialled(b)
	case bodyReserve:
		m, why = parseReserve(b)
	case bodyReserved:
		m, why = parseReserved(b)
	case bodyCall:
		m, why = parseCall(b)
	case bodyCalled:
		m, why = parseCalled(b)
	case bodyOffer:
		m, why = parseOffer(b)
	case bodyWanted:
		m, why = parseWanted(b)
	default:
		ok = false
	}
	return m, why, ok
}

func parseHello(b []byte) (m Hello, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, varintType):
			m.Mode = modeOf(c.bits)
		case c.is(2, bytesType):
			m.Agent, why = parseText(c.data(), MaxAgent)
		case c.is(3, varintType):
			var ok bool
			if m.Clock, ok = fromMillis(c.bits); !ok {
				why = badTime
			}
		case c.is(4, bytesType):
			m.Observed = parseSeen(c.data())
		case c.is(5, bytesType):
			m.Record, why = parseOptional(m.Record, c.data())
		case c.is(6, varintType):
			m.DialBack = c.bits != 0
		}
	}
	if why == "" && !c.bad && m.Mode == 0 {
		why = badMode
	}
	return m, c.or(why)
}

func parseObserved(b []byte) (m Observed, why reason) {
	c := scan(b)
	for c.next() {
		if c.is(1, bytesType) {
			m.Addr = parseSeen(c.data())
		}
	}
	return m, c.or("")
}

// parseSeen reads an observed address; "" if b is no address, or only a name.
func parseSeen(b []byte) Addr {
	if a, err := ParseAddr(b); err == nil {
		if _, ok := a.AddrPort(); ok {
			return a
		}
	}
	return ""
}

func parseError(b []byte) (m Error, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, varintType):
			m.Code, why = parseCode(c.bits)
		case c.is(2, bytesType):
			m.Message, why = parseText(c.data(), MaxErrorText)
		}
	}
	if why == "" && !c.bad && m.Code == CodeOK {
		why = badCode
	}
	return m, c.or(why)
}

func parseEmpty(b []byte) reason {
	c := scan(b)
	for c.next() {
	}
	return c.or("")
}

func parseFindNode(b []byte) (m FindNode, why reason) {
	why = noKey
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			why = parseKey(&m.Key, c.data())
		case c.is(2, varintType):
			m.Count = parseCount(c.bits)
		}
	}
	return m, c.or(why)
}

func parseNodes(b []byte) (m Nodes, why reason) {
	var contacts contactList
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			why = contacts.add(c.data())
		case c.is(2, bytesType):
			m.Record, why = parseOptional(m.Record, c.data())
		}
	}
	if why = c.or(why); why == "" {
		m.Contacts, why = contacts.parse()
	}
	return m, why
}

func parseKey(k *routing.Key, b []byte) reason {
	if len(b) != len(k) {
		return noKey
	}
	*k = routing.Key(b)
	return ""
}

// parseCount reads a count, of which protobuf takes 32 bits, and caps it at
// MaxContacts.
func parseCount(v uint64) int { return int(min(uint32(v), MaxContacts)) }

// parseCode reads a code; protobuf's enums are signed, ours never negative.
func parseCode(v uint64) (Code, reason) {
	if int32(v) < 0 {
		return 0, badCode
	}
	return Code(v), ""
}

func parseText(b []byte, max int) (string, reason) {
	switch {
	case len(b) > max:
		return "", tooLong
	case !utf8.Valid(b):
		return "", badText
	}
	return string(b), ""
}
