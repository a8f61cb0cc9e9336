package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"time"
)

// An CandidateOffer is what one peer tells another, through a relay, so that they
// can meet: where it may be found, and half of a secret that the relay does not
// learn. From both halves, by X25519 (RFC 7748), the two make the key of their
// probes.
type CandidateOffer struct {
	From, To PeerID
	Key      [32]byte  // an X25519 public key, made for this call
	Reply    [32]byte  // Key of the call that this answers; zero in a call
	At       time.Time // when it was signed, in milliseconds, UTC
	// Addrs are candidates, at most MaxIntroAddrs, always IP addresses, the best
	// first. The first MaxGuess may be guesses of the port that a NAT will give.
	Addrs    []Addr
	Mapping  Mapping // of the NAT in front of the sender
	Birthday bool    // the sender agrees to probes of many ports at random
}

// Mapping says how a NAT chooses the outside port of a socket that sends to one
// place after another (RFC 4787 §4.1).
type Mapping uint8

const (
	MappingUnknown     Mapping = 0
	MappingNone        Mapping = 1 // there is no NAT
	MappingIndependent Mapping = 2 // always the same
	MappingSequential  Mapping = 3 // another for each place, in steps
	MappingRandom      Mapping = 4 // another for each place, at random
)

var mappingNames = [...]string{"unknown", "none", "endpoint-independent", "sequential", "random"}

// String returns "none", "sequential" and the like.
func (m Mapping) String() string {
	if int(m) < len(mappingNames) {
		return mappingNames[m]
	}
	return mappingNames[MappingUnknown]
}

// ErrIntroduction is returned for what is not an introduction that its sender
// has signed.
var ErrIntroduction = errors.New("not a valid introduction")

const introDomain = "kadquic call v1\x00"

// Sign returns the form in which i travels: the signature and the bytes signed.
// From is set to the key's public half, At cut to milliseconds, and Addrs to
// MaxIntroAddrs; those that are not IP addresses are left out.
func (i CandidateOffer) Sign(key ed25519.PrivateKey) []byte {
	i.From = PeerID(key.Public().(ed25519.PublicKey))
	b := append(make([]byte, 0, 512), introDomain...)
	b = i.encode(b)
	payload := b[len(introDomain):]
	return append(ed25519.Sign(key, b), payload...)
}

func (i CandidateOffer) encode(b []byte) []byte {
	b = appendBytes(b, 1, i.From[:])
	b = appendBytes(b, 2, i.To[:])
	b = appendBytes(b, 3, i.Key[:])
	if i.Reply != [32]byte{} {
		b = appendBytes(b, 4, i.Reply[:])
	}
	b = appendUint(b, 5, millis(i.At))
	n := 0
	for _, a := range i.Addrs {
		if _, ok := a.AddrPort(); ok && n < MaxOfferAddrs {
			b = appendBytes(b, 6, a)
			n++
		}
	}
	b = appendUint(b, 7, uint64(i.Mapping))
	return appendUint(b, 8, bit(i.Birthday))
}

// ParseCandidateOffer reads what Sign returned and verifies that From has signed
// it. Whether From and To are who they should be, and At lately, is for the
// caller to see. Fields not known here are passed over, and addresses of forms
// not known left out. The error wraps ErrIntroduction.
func ParseCandidateOffer(b []byte) (CandidateOffer, error) {
	if len(b) <= ed25519.SignatureSize || len(b) > MaxIntro {
		return CandidateOffer{}, fmt.Errorf("%w: %d bytes", ErrIntroduction, len(b))
	}
	signature, payload := b[:ed25519.SignatureSize], b[ed25519.SignatureSize:]
	i, why := parseIntroduction(payload)
	if why != "" {
		return CandidateOffer{}, fmt.Errorf("%w: %s", ErrIntroduction, why)
	}
	signed := append(append(make([]byte, 0, len(introDomain)+len(payload)), introDomain...), payload...)
	if !ed25519.Verify(i.From[:], signed, signature) {
		return CandidateOffer{}, fmt.Errorf("%w: signature does not match", ErrIntroduction)
	}
	return i, nil
}

func parseIntroduction(b []byte) (i CandidateOffer, why reason) {
	addrs := 0
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			why = parseBytes32((*[32]byte)(&i.From), c.data(), badPeerID)
		case c.is(2, bytesType):
			why = parseBytes32((*[32]byte)(&i.To), c.data(), badPeerID)
		case c.is(3, bytesType):
			why = parseBytes32(&i.Key, c.data(), noKey)
		case c.is(4, bytesType):
			why = parseBytes32(&i.Reply, c.data(), noKey)
		case c.is(5, varintType):
			var ok bool
			if i.At, ok = fromMillis(c.bits); !ok {
				why = badTime
			}
		case c.is(6, bytesType):
			if addrs++; addrs > MaxOfferAddrs {
				why = tooManyAddrs
			} else if a := parseSeen(c.data()); a != "" {
				i.Addrs = append(i.Addrs, a)
			}
		case c.is(7, varintType):
			i.Mapping = mappingOf(c.bits)
		case c.is(8, varintType):
			i.Birthday = c.bits != 0
		}
	}
	switch {
	case why != "" || c.bad:
	case !i.From.IsValid() || !i.To.IsValid():
		why = badPeerID
	case i.Key == [32]byte{}:
		why = noKey
	case i.At.IsZero():
		why = badTime
	}
	return i, c.or(why)
}

// mappingOf reads a mapping, of which protobuf takes 32 bits; one not known
// here is unknown.
func mappingOf(v uint64) Mapping {
	if m := Mapping(min(uint32(v), math.MaxUint8)); m <= MappingRandom {
		return m
	}
	return MappingUnknown
}

func parseBytes32(to *[32]byte, b []byte, otherwise reason) reason {
	if len(b) != len(to) {
		return otherwise
	}
	*to = [32]byte(b)
	return ""
}
