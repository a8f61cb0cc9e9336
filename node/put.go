package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kadquic/kadquic/internal/peerkey"
	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Stored says on how many nodes a record was stored.
type Stored struct {
	Key routing.Key
	// Count peers acknowledged in time that they hold it, this node among them if
	// it is one of the nearest itself; Of is the smaller of k and the servers that
	// answered.
	Count, Of int
}

func (s Stored) String() string { return fmt.Sprintf("stored on %d of %d", s.Count, s.Of) }

// PutOptions say what kind of record to put. The zero value is an open record
// by this node that lives for Config.RecordTTL.
type PutOptions struct {
	// Kind is KindOpen if zero: any key, one record of each publisher. Other keys follow
	// from the record: KindContent has the key of its value, KindOwned has the key of its
	// publisher and Name, and KindOpen with a Name has the key of the name. The key given
	// must be the same or zero.
	Kind wire.Kind

	// Name of an owned or open record, at most 256 bytes.
	Name []byte

	// TTL is how long the record lives, at most 24 hours. After a TTL that is given the
	// record ends. If zero, the record lives for Config.RecordTTL and this node renews it:
	// it publishes the record again at 5/6 of its life, until Unpublish or Close, or until
	// another put of the same kind and key replaces it. With Config.Data it goes on after
	// a restart.
	TTL time.Duration

	// Seq orders the records of one publisher under one key: the higher stands.
	// If zero, Unix milliseconds, or one more than the last put's if that is more.
	// At most MaxSeq, so that later puts always find a higher one.
	Seq uint64

	// IfSeq makes the put of an owned record a compare-and-set: it is stored if the version
	// that stands has this sequence number; 0 means that none stands. Otherwise the error is
	// ErrConflict, a *ConflictError, and nothing is stored. If nil, the record replaces any
	// version with a lower sequence number.
	//
	// Several writers that share a key can so change one record without losing a change:
	// get the record, change it, put it with IfSeq = &Value.Seq, and start again at
	// ErrConflict. The nearest node that answers is the arbiter, so that one of two writers
	// wins. Writers that do not find the same arbiter, as when the network is cut in two,
	// may both win; then the higher sequence stands in the end. After another error the
	// record may be stored somewhere or not.
	IfSeq *uint64

	// Quorum is on how many peers the record must be stored for the put to
	// succeed. If zero, 1. Negative is an error.
	Quorum int

	// Publisher signs the record. If nil, the node's own key. Records of another
	// publisher are never renewed.
	Publisher ed25519.PrivateKey
}

// MaxSeq is the highest sequence number that a put accepts. Records may have numbers up to
// [wire.MaxSeq], twice as high: the range between is left for later versions.
const MaxSeq = wire.MaxSeq / 2

// Put stores value, at most 8 KiB, under key on the k nodes nearest to it, as an
// open record. With options, which may be nil, it stores other kinds of records. It returns
// when the nodes have stored the record, and says how many have. For a silent peer it waits a
// little longer than the others took to answer, and not at all once the quorum is reached.
// Such a peer may store the record later, and is not counted.
//
// When fewer than Quorum peers stored the record, the error is a *PutError. It is one, too,
// when the node has bootstrap peers, is connected to no network, and has stored the record on
// itself only. In that case it publishes the record once it has joined. A compare-and-set
// (PutOptions.IfSeq) that finds another version returns a *ConflictError.
//
// With a context that has ended already Put does nothing. If ctx ends midway, the
// peers that have stored the record keep it, and Stored counts the acknowledgements that
// arrived in time. If there are any, the node keeps the record alive as after a put that
// succeeded; otherwise it keeps alive the record that it published there before.
func (n *Node) Put(ctx context.Context, key routing.Key, value []byte, o *PutOptions) (Stored, error) {
	var options PutOptions
	if o != nil {
		options = *o
	}
	switch options.Kind {
	case 0, wire.KindContent, wire.KindOwned, wire.KindOpen:
		return n.put(ctx, key, value, options)
	}
	return Stored{}, fmt.Errorf("put: records of kind %v are not put by hand", options.Kind)
}

// PutOwned stores value, at most 8 KiB, as this node's owned record of a name, at most 256
// bytes: only this node's key can replace it. The record's key follows from the two:
// Stored.Key. Otherwise PutOwned is Put with the given options, which may be nil.
func (n *Node) PutOwned(ctx context.Context, name, value []byte, o *PutOptions) (Stored, error) {
	var options PutOptions
	if o != nil {
		options = *o
	}
	options.Kind, options.Name = wire.KindOwned, name
	return n.put(ctx, routing.Key{}, value, options)
}

// ErrConflict says, by errors.Is of a *ConflictError, that the version that stands is not
// the one expected.
var ErrConflict = errors.New("node: another version stands")

// A ConflictError says that a compare-and-set found another version than it
// expected, and has stored nothing.
type ConflictError struct {
	Key  routing.Key
	Want uint64      // the sequence number expected; 0: none
	Seq  uint64      // found; 0: no live version, but an ended one is remembered
	Peer wire.PeerID // the node that has it
}

func (e *ConflictError) Error() string {
	want := fmt.Sprintf("sequence %d", e.Want)
	if e.Want == 0 {
		want = "none"
	}
	found := fmt.Sprintf("another version stands: sequence %d", e.Seq)
	switch {
	case e.Seq == 0 && e.Want == 0:
		found = "a version that has ended is still remembered"
	case e.Seq == 0:
		found = "no version stands"
	}
	return fmt.Sprintf("key %s: %s, expected %s", e.Key, found, want)
}

func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// put is Put with any options, and also puts provider records, whose value it fills in.
func (n *Node) put(ctx context.Context, key routing.Key, value []byte, o PutOptions) (Stored, error) {
	if err := n.ready(ctx); err != nil {
		return Stored{}, err
	}
	r, err := n.sign(key, value, o)
	if err == nil {
		err = n.search.Validators.Validate(r)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("put: %w", err)
	}
	put := func() (Stored, error) {
		if o.IfSeq != nil {
			return n.compareAndPut(ctx, r, o.Quorum, *o.IfSeq)
		}
		return n.publish(ctx, r, o.Quorum)
	}
	if r.Record.Publisher == n.id {
		return n.putOwn(r, o.TTL != 0, put)
	}
	return put()
}

// sign makes the record that a put publishes.
func (n *Node) sign(key routing.Key, value []byte, o PutOptions) (*wire.Signed, error) {
	now := time.Now()
	defaultTo(&o.Kind, wire.KindOpen)
	defaultTo(&o.TTL, n.config.RecordTTL)
	switch {
	case o.TTL < 0 || o.TTL > wire.MaxTTL:
		return nil, fmt.Errorf("a life of %v, want at most %v", o.TTL, wire.MaxTTL)
	case o.Quorum < 0:
		return nil, fmt.Errorf("a quorum of %d peers", o.Quorum)
	case o.Seq > MaxSeq:
		return nil, fmt.Errorf("sequence %d, want at most %d", o.Seq, uint64(MaxSeq))
	case o.IfSeq != nil && *o.IfSeq >= wire.MaxSeq:
		return nil, fmt.Errorf("sequence %d expected: no higher one can take its place", *o.IfSeq)
	}
	if o.Publisher == nil {
		o.Publisher = n.config.Key
	}
	if err := peerkey.Check(o.Publisher); err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	publisher := wire.PeerID(o.Publisher.Public().(ed25519.PublicKey))
	right := key
	switch {
	case o.Kind == wire.KindContent:
		right = wire.ContentKey(value)
	case o.Kind == wire.KindOwned:
		right = wire.OwnedKey(publisher, o.Name)
	case o.Kind == wire.KindOpen && len(o.Name) > 0:
		right = routing.KeyOf(o.Name)
	case o.Kind == wire.KindProvider:
		var err error
		if value, err = n.providerValue(); err != nil {
			return nil, err
		}
	}
	if key == (routing.Key{}) {
		key = right
	}
	if key != right {
		return nil, fmt.Errorf("key %s: %w", key, wire.ErrBadKey)
	}
	switch {
	case o.IfSeq != nil && o.Kind != wire.KindOwned:
		return nil, fmt.Errorf("IfSeq with a record of kind %v, want %v", o.Kind, wire.KindOwned)
	case o.IfSeq != nil && o.Seq != 0 && o.Seq <= *o.IfSeq:
		return nil, fmt.Errorf("sequence %d in the place of %d, want a higher one", o.Seq, *o.IfSeq)
	}
	if o.IfSeq != nil { // two writers of one value in one millisecond must not sign the same record: both would win
		o.TTL -= rand.N(min(o.TTL/20, time.Minute) + 1)
	}
	if o.Seq == 0 {
		var above uint64
		if publisher == n.id {
			above = n.publications.LastSeq(publish.Key{Kind: o.Kind, Key: key})
		}
		if o.IfSeq != nil {
			above = max(above, *o.IfSeq)
		}
		o.Seq = n.publications.NextSeq(key, above, now)
	}
	return wire.Sign(wire.Record{
		Kind:   o.Kind,
		Key:    key,
		Name:   o.Name,
		Seq:    o.Seq,
		Expiry: now.Add(o.TTL),
		Value:  value,
	}, o.Publisher)
}

// clockFault returns an error if the clock differs so much from that of the peers that either side
// refuses the records of the other. It explains a failure; it is no reason to refuse a put,
// because peers may lie about their clocks.
func (n *Node) clockFault() error {
	if ahead, ok := n.skew.median(time.Now()); ok && ahead.Abs() > wire.MaxSkew {
		return fmt.Errorf("this machine's clock differs by %v from that of its peers, so that either side takes the records of the other for wrong: set the clock", ahead.Round(time.Second))
	}
	return nil
}

// notFound is ErrNotFound, and says so where our clock may be to blame.
func (n *Node) notFound() error {
	if err := n.clockFault(); err != nil {
		return fmt.Errorf("%w; %w", ErrNotFound, err)
	}
	return ErrNotFound
}
