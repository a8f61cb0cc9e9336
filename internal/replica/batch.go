package replica

import (
	"time"

	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// A batch is a list of records to send to other nodes. Several goroutines call it at once.
type batch interface {
	Len() int
	// Offered names the i-th record.
	Offered(i int) wire.Offered
	// Load returns the i-th record, nil if it has been removed meanwhile. The sender
	// releases a record as soon as it is sent: at most one frame of records per
	// concurrent receiver is in memory.
	Load(i int) *wire.Signed
	// Fresh reports that the records were signed just now: no peer has them, so
	// they are sent without an OFFER.
	Fresh() bool
}

// freshRecords is a batch of records signed just now.
type freshRecords []*wire.Signed

func (f freshRecords) Len() int                { return len(f) }
func (f freshRecords) Load(i int) *wire.Signed { return f[i] }
func (f freshRecords) Fresh() bool             { return true }

func (f freshRecords) Offered(i int) wire.Offered {
	r := &f[i].Record
	return wire.Offered{Kind: r.Kind, Key: r.Key, Print: f[i].Print()}
}

// heldRecords is a batch of records of this node's store, which are loaded when they are sent.
type heldRecords struct {
	store store.Store
	held  []store.Held
}

func (h heldRecords) Len() int                { return len(h.held) }
func (h heldRecords) Load(i int) *wire.Signed { return h.store.Load(time.Now(), h.held[i]) }
func (h heldRecords) Fresh() bool             { return false }

func (h heldRecords) Offered(i int) wire.Offered { return offered(&h.held[i]) }

func offered(h *store.Held) wire.Offered {
	return wire.Offered{Kind: h.Kind, Key: h.Key, Print: h.Print}
}
