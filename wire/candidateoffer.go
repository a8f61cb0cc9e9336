package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"time"
)

// A CandidateOffer names a peer's candidates to another peer, through a relay
// (Introduction in SPEC.md). From the X25519 keys of both peers' offers (RFC 7748)
// follow the keys of their probes, which the relay does not learn.
type CandidateOffer struct {
	From, To PeerID
	Key      [32]byte  // an X25519 public key, made for this call
	Reply    [32]byte  // Key of the call that this answers; zero in a call
	At       time.Time // when it was signed, in milliseconds, UTC
	// Addrs are candidates, at most MaxCandidates, always IP addresses, the best
	// first. The first MaxGuess may be ports that a NAT is predicted to assign.
	Addrs    []Addr
	Mapping  Mapping // of the NAT in front of the sender
	Birthday bool    // the sender agrees to probes of many random ports
}

// Mapping says how a NAT assigns ports to a socket that sends to several
// destinations (RFC 4787 §4.1).
type Mapping uint8

const (
	MappingUnknown     Mapping = 0
	MappingNone        Mapping = 1 // there is no NAT
	MappingIndependent Mapping = 2 // one port for all destinations
	MappingSequential  Mapping = 3 // another port for each destination, in steps
	MappingRandom      Mapping = 4 // another port for each destination, at random
)

var mappingNames = [...]string{"unknown", "none", "endpoint-independent", "endpoint-dependent, sequential", "endpoint-dependent, random"}

// String returns "none", "endpoint-independent" and the like.
func (m Mapping) String() string {
	if int(m) < len(mappingNames) {
		return mappingNames[m]
	}
	return mappingNames[MappingUnknown]
}

// ErrCandidateOffer is returned for bytes that are no candidate offer signed by its
// sender.
var ErrCandidateOffer = errors.New("wire: not a valid candidate offer")

const candidateOfferDomain = "kadquic call v1\x00"

// Sign returns the encoded offer: the signature and the signed bytes. It sets From to
// the public key, cuts At to milliseconds and Addrs to MaxCandidates, and leaves out
// addresses that are not IP addresses.
func (i CandidateOffer) Sign(key ed25519.PrivateKey) []byte {
	i.From = PeerID(key.Public().(ed25519.PublicKey))
	b := append(make([]byte, 0, 512), candidateOfferDomain...)
	b = i.encode(b)
	payload := b[len(candidateOfferDomain):]
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
		if _, ok := a.AddrPort(); ok && n < MaxCandidates {
			b = appendBytes(b, 6, a)
			n++
		}
	}
	b = appendUint(b, 7, uint64(i.Mapping))
	return appendUint(b, 8, bit(i.Birthday))
}

// ParseCandidateOffer decodes an offer and verifies that From has signed it. It does
// not check To and At. It ignores unknown fields and leaves out addresses of unknown
// form. The error wraps ErrCandidateOffer.
func ParseCandidateOffer(b []byte) (CandidateOffer, error) {
	if len(b) <= ed25519.SignatureSize || len(b) > MaxCandidateOffer {
		return CandidateOffer{}, fmt.Errorf("%w: %d bytes", ErrCandidateOffer, len(b))
	}
	signature, payload := b[:ed25519.SignatureSize], b[ed25519.SignatureSize:]
	i, why := parseCandidateOffer(payload)
	if why != "" {
		return CandidateOffer{}, fmt.Errorf("%w: %s", ErrCandidateOffer, why)
	}
	signed := append(append(make([]byte, 0, len(candidateOfferDomain)+len(payload)), candidateOfferDomain...), payload...)
	if !ed25519.Verify(i.From[:], signed, signature) {
		return CandidateOffer{}, fmt.Errorf("%w: signature does not match", ErrCandidateOffer)
	}
	return i, nil
}

func parseCandidateOffer(b []byte) (i CandidateOffer, why reason) {
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
			if addrs++; addrs > MaxCandidates {
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
