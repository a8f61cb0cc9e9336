package wire

import (
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/routing"
)

// A Contact is a peer and where it may be reached: at most MaxAddrs addresses,
// the best first, perhaps none.
type Contact struct {
	ID    PeerID
	Addrs []Addr
}

// Key is the peer's place in the key space: the SHA3-256 of its ID.
func (c Contact) Key() routing.Key { return c.ID.Key() }

// Multiaddrs returns the contact's addresses as multiaddrs, each with /p2p/ID.
func (c Contact) Multiaddrs() []ma.Multiaddr {
	addrs := make([]ma.Multiaddr, len(c.Addrs))
	for i, a := range c.Addrs {
		addrs[i] = JoinPeer(a, c.ID)
	}
	return addrs
}

func sizeContact(c *Contact) int {
	n := sizeField(len(c.ID))
	for _, a := range c.Addrs {
		n += sizeField(len(a))
	}
	return n
}

func sizeContacts(cs []Contact) (n int) {
	for i := range cs {
		n += sizeField(sizeContact(&cs[i]))
	}
	return n
}

func appendContacts(b []byte, num protowire.Number, cs []Contact) []byte {
	for i := range cs {
		c := &cs[i]
		b = appendHead(b, num, sizeContact(c))
		b = append(appendHead(b, 1, len(c.ID)), c.ID[:]...)
		for _, a := range c.Addrs {
			b = append(appendHead(b, 2, len(a)), a...)
		}
	}
	return b
}

// contactList gathers the contacts of a reply still encoded, so that they can
// then be parsed into three allocations: the contacts, all their addresses,
// and the bytes of those.
type contactList struct {
	raw [MaxContacts][]byte
	n   int
}

// add keeps one more, if there is room.
func (l *contactList) add(b []byte) reason {
	if l.n == len(l.raw) {
		return tooManyContacts
	}
	l.raw[l.n] = b
	l.n++
	return ""
}

// parse validates the contacts. Addresses that are not an Addr, perhaps of a
// transport of the future, are left out.
func (l *contactList) parse() ([]Contact, reason) {
	if l.n == 0 {
		return nil, ""
	}
	addrs, size := 0, 0
	for _, b := range l.raw[:l.n] {
		c := scan(b)
		for c.next() {
			if c.is(2, bytesType) && len(c.data()) <= MaxAddrLen {
				addrs++
				size += len(c.data())
			}
		}
	}
	if addrs > MaxContacts*MaxAddrs {
		return nil, tooManyAddrs
	}
	contacts := make([]Contact, l.n)
	list := addrList{slab: make([]Addr, 0, addrs)}
	list.text.Grow(size)
	for i, b := range l.raw[:l.n] {
		if why := contacts[i].parse(b, &list); why != "" {
			return nil, why
		}
	}
	return contacts, ""
}

// parse fills in the zero Contact.
func (contact *Contact) parse(b []byte, list *addrList) reason {
	list.begin()
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			if len(c.data()) != len(contact.ID) {
				return badPeerID
			}
			contact.ID = PeerID(c.data())
		case c.is(2, bytesType):
			if !list.add(c.data()) {
				return tooManyAddrs
			}
		}
	}
	if !c.bad && !contact.ID.IsValid() {
		return badPeerID
	}
	contact.Addrs = list.end()
	return c.or("")
}

// addrList parses lists of addresses into one slab and one string. Its user
// grows both beforehand; it is right without, only slower.
type addrList struct {
	slab  []Addr
	text  strings.Builder
	first int // of the list begun, in slab
	seen  int // of the list begun, those left out too
}

func (l *addrList) begin() { l.first, l.seen = len(l.slab), 0 }

// add parses one address; false if they are too many for one list.
func (l *addrList) add(b []byte) bool {
	if l.seen++; l.seen > MaxAddrs {
		return false
	}
	if validAddr(b) {
		at := l.text.Len()
		l.text.Write(b)
		l.slab = append(l.slab, Addr(l.text.String()[at:]))
	}
	return true
}

// end returns the list begun, nil if empty.
func (l *addrList) end() []Addr {
	if l.first == len(l.slab) {
		return nil
	}
	return l.slab[l.first:len(l.slab):len(l.slab)]
}
