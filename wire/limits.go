package wire

import "time"

// What one side may send the other. A receiver refuses what exceeds these, so
// raising one needs a new protocol version; lowering what we send does not.
const (
	MaxFrame          = 64 << 10       // bytes of one frame, its length prefix not counted
	MaxContacts       = 20             // contacts in one reply
	MaxAddrs          = 8              // addresses of one contact or peer record
	MaxAddrLen        = 128            // bytes of one binary multiaddr
	MaxRelays         = 4              // relays in one peer record
	MaxStore          = 64             // records in one STORE
	MaxRecords        = 4              // records in one reply to FIND_VALUE that does not ask for all
	MaxPage           = 32             // records in one page: a reply to GET_PROVIDERS, or to a FIND_VALUE that asks for all
	MaxOffer          = 1024           // records named in one OFFER
	MaxDialBack       = 4              // addresses in one DIAL_BACK
	DialBytes         = 4 * 1232       // bytes that a dial-back may send before the peer answers: four of QUIC's first packets
	MaxCandidateOffer = 1024           // bytes of a signed candidate offer
	MaxCandidates     = 16             // in one offer
	MaxGuess          = 10             // of them guesses of ports
	MaxPadding        = 4096           // bytes of padding in one CALL or CALLED
	MaxValue          = 8 << 10        // bytes of a record's value
	MaxPeerRecord     = 2 << 10        // bytes of the value of a peer or provider record
	MaxName           = 256            // bytes of an owned or open record's name
	MaxPayload        = MaxValue + 512 // bytes of an encoded Record
	MaxAgent          = 64             // bytes of HELLO's agent
	MaxErrorText      = 256            // bytes of an error's message
	MaxProtocol       = 128            // bytes of an application protocol's name

	// MaxTTL is how far ahead a record may expire.
	MaxTTL = 24 * time.Hour
	// MaxSkew is the clock difference forgiven between publisher and holder.
	MaxSkew = 10 * time.Minute
)
