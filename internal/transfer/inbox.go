package transfer

import (
	"errors"
	"os"
)

// An Inbox is what is here of the last file that somebody offered: they send one at a
// time. The zero value has none. Its user sees to it that one goroutine at a time calls
// its methods.
type Inbox struct {
	part  *Part
	offer uint64
}

// Part returns the part of an offer: the one that there is, or a new one in place of
// another offer's, as with [Create]. If dir is nil, files are not taken.
func (b *Inbox) Part(dir *os.Root, offer uint64, name string, size int64, sum []byte) (*Part, error) {
	if b.part != nil && b.offer == offer {
		return b.part, nil
	}
	b.Cancel(errors.New("another came"))
	if dir == nil {
		return nil, errors.New("files are taken only into a --downloads directory")
	}
	var err error
	b.part, err = Create(dir, name, size, sum)
	b.offer = offer
	return b.part, err
}

// Cancel gives the file up, unless it is whole.
func (b *Inbox) Cancel(why error) {
	if b.part != nil {
		b.part.Cancel(why)
	}
}
