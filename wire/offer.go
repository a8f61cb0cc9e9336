package wire

import "github.com/kadquic/kadquic/routing"

// A Print identifies one signed record by the first 16 bytes of its signature.
// Only the publisher could make two records with the same print, and would harm
// only its own records.
type Print [16]byte

// Print names s.
func (s *Signed) Print() Print { return Print(s.Signature[:16]) }

// Offered names one record that the sender of an Offer holds.
type Offered struct {
	Kind  Kind // may be one that is not known here
	Key   routing.Key
	Print Print
}

// Offer asks which of the records named the receiver lacks and would keep. It
// costs a tenth of sending them (Kademlia §2.5 sends them).
type Offer struct {
	Records []Offered // 1 to MaxOffer
}

// Wanted answers Offer.
type Wanted struct {
	// Wants has a bit for each record of the offer, in order: record i is bit i%8
	// of byte i/8, the least significant first; 1 asks for the record. Bits that
	// are missing are 0. At most MaxOffer/8 bytes.
	Wants []byte
}

// NewWanted returns the answer to an offer of n records that wants none of them.
func NewWanted(n int) Wanted { return Wanted{make([]byte, (n+7)/8)} }

// Set asks for record i, less than the n of NewWanted.
func (w Wanted) Set(i int) { w.Wants[i/8] |= 1 << (i % 8) }

// Has reports whether record i is asked for.
func (w Wanted) Has(i int) bool {
	return i >= 0 && i/8 < len(w.Wants) && w.Wants[i/8]&(1<<(i%8)) != 0
}

func (o *Offered) size() int {
	return sizeUint(uint64(o.Kind)) + sizeField(len(o.Key)) + sizeField(len(o.Print))
}

func (m Offer) size() (n int) {
	for i := range m.Records {
		n += sizeField(m.Records[i].size())
	}
	return n
}

func (m Offer) encode(b []byte) []byte {
	for i := range m.Records {
		o := &m.Records[i]
		b = appendHead(b, 1, o.size())
		b = appendUint(b, 1, uint64(o.Kind))
		b = appendBytes(b, 2, o.Key[:])
		b = appendBytes(b, 3, o.Print[:])
	}
	return b
}

func (m Wanted) size() int              { return sizeBytes(len(m.Wants)) }
func (m Wanted) encode(b []byte) []byte { return appendBytes(b, 1, m.Wants) }

// minOffered is the least that one record of an offer takes: its head, kind,
// key and print.
const minOffered = 2 + 2 + 34 + 18

func parseOffer(b []byte) (m Offer, why reason) {
	m.Records = make([]Offered, 0, min(len(b)/minOffered, MaxOffer))
	c := scan(b)
	for why == "" && c.next() {
		if !c.is(1, bytesType) {
			continue
		}
		if len(m.Records) == MaxOffer {
			return m, tooManyRecords
		}
		var o Offered
		why = o.parse(c.data())
		m.Records = append(m.Records, o)
	}
	if why == "" && !c.bad && len(m.Records) == 0 {
		why = noRecords
	}
	return m, c.or(why)
}

// parse fills in the zero Offered.
func (o *Offered) parse(b []byte) (why reason) {
	kind, key, print := uint32(0), false, false
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, varintType):
			kind = uint32(c.bits)
		case c.is(2, bytesType):
			why, key = parseKey(&o.Key, c.data()), true
		case c.is(3, bytesType):
			if print = len(c.data()) == len(o.Print); !print {
				return badPrint
			}
			o.Print = Print(c.data())
		}
	}
	switch {
	case why != "" || c.bad:
		return c.or(why)
	case kind == 0:
		return noKind
	case !key:
		return noKey
	case !print:
		return badPrint
	}
	o.Kind = Kind(min(kind, 0xff))
	return ""
}

func parseWanted(b []byte) (m Wanted, why reason) {
	c := scan(b)
	for c.next() {
		if c.is(1, bytesType) {
			if len(c.data()) > MaxOffer/8 {
				return m, tooManyWants
			}
			m.Wants = append([]byte(nil), c.data()...) // nil for none
		}
	}
	return m, c.or("")
}
