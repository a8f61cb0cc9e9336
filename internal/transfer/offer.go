package transfer

import "bytes"

// An Offer describes a file that a peer wants to send.
type Offer struct {
	ID   uint64 // drawn by the sender, for each
	Name string // without a directory
	Size int64  // bytes
	Sum  []byte // SHA-256
}

func (o Offer) sameFile(as Offer) bool {
	return o.Name == as.Name && o.Size == as.Size && bytes.Equal(o.Sum, as.Sum)
}
