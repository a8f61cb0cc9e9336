package transfer

import (
	"errors"
	"os"
)

// An Inbox is the last file that one peer has offered: peers send one at a time. The
// zero value is empty. One goroutine at a time calls its methods.
type Inbox struct {
	offer   Offer
	offered bool
	part    *Part // nil until the offer is accepted
	err     error // why it never will be
}

// Offered notes an offer and reports whether it is new. A new offer ends the one before,
// unless it is of the same file, which is then continued: the sender has started again.
// A peer may repeat an offer as often as it likes.
func (b *Inbox) Offered(o Offer) bool {
	if b.offered && b.offer.ID == o.ID {
		return false
	}
	_, pending := b.Pending()
	if o.sameFile(b.offer) && (pending || b.part != nil && b.part.incomplete()) {
		b.offer.ID = o.ID
		return false
	}
	b.Cancel(errors.New("another file was offered"))
	*b = Inbox{offer: o, offered: true, err: checkOffer(o)}
	return true
}

// Pending returns the offer that is neither accepted nor cancelled; false if there is none.
func (b *Inbox) Pending() (Offer, bool) {
	return b.offer, b.offered && b.part == nil && b.err == nil
}

// Accept lets the pending offer into dir, as with [Create].
func (b *Inbox) Accept(dir *os.Root, from string) error {
	if _, ok := b.Pending(); ok {
		b.part, b.err = Create(dir, from, b.offer)
	}
	return b.err
}

// Part returns the part of the offer if it is accepted, an error if it failed or was
// cancelled, and neither while it is pending.
func (b *Inbox) Part() (*Part, error) { return b.part, b.err }

// Decided returns the ID of the offer once it is accepted, refused or cancelled; zero
// while there is none or it is pending.
func (b *Inbox) Decided() uint64 {
	if _, pending := b.Pending(); pending {
		return 0
	}
	return b.offer.ID
}

// Cancel gives up the offer, unless the file is whole. It returns the offer, and whether
// there was anything to give up.
func (b *Inbox) Cancel(why error) (o Offer, ok bool) {
	if o, ok = b.Pending(); ok {
		b.err = why
		return o, ok
	}
	return o, b.part != nil && b.part.Cancel(why)
}
