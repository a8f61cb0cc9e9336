package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/peerkey"
	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// storeBeta is how many of the nearest must have answered before a put begins
// to store.
const storeBeta = 3

// Stored says where a record went.
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
	// Kind is KindOpen if zero: any key, one record of each publisher. The key of
	// KindContent is that of the value, of KindOwned that of publisher and Name,
	// of KindOpen with a Name that of the name: the key given must be that, or
	// zero.
	Kind wire.Kind

	// Name of an owned or open record, at most 256 bytes.
	Name []byte

	// TTL is how long the record lives, at most 24 hours. If zero, it lives for
	// Config.RecordTTL and this node keeps it alive: it publishes it anew at 5/6
	// of its life, until Unpublish or Close, with Config.Data also after a
	// restart, or until another put of the same kind and key takes its place. If
	// given, the record ends then, and nobody renews it.
	TTL time.Duration

	// Seq orders the records of one publisher under one key: the higher stands.
	// If zero, Unix milliseconds, or one more than the last put's if that is more.
	// At most MaxSeq, so that later puts always find a higher one.
	Seq uint64

	// IfSeq makes the put of an owned record a compare-and-set: see PutIf. If nil,
	// it replaces any version with a lower sequence number.
	IfSeq *uint64

	// Quorum is on how many peers the record must be stored for the put to
	// succeed. If zero, 1. Negative is an error.
	Quorum int

	// Publisher signs the record. If nil, the node's own key. Records of another
	// are never renewed.
	Publisher ed25519.PrivateKey
}

// MaxSeq is the highest sequence number that a put accepts. Records may have ones up to
// [wire.MaxSeq], twice as high: what lies between is left for later versions.
const MaxSeq = wire.MaxSeq / 2

// Put stores value, at most 8 KiB, under key on the k nodes nearest to it, as an
// open record. It returns when they have it, and says how many do. It waits for a
// peer that keeps silent a little longer than others took to answer, and no
// longer once the quorum is reached; that peer may store the record later, and is
// not counted.
//
// With a context that has ended already Put does nothing. If ctx ends midway, the
// peers that have stored the record keep it, and Stored counts those that said so;
// others may have stored it and have not been heard. If any was counted, the node
// keeps the record alive as after a put that succeeded; otherwise it goes on with what
// it published there before.
func (n *Node) Put(ctx context.Context, key routing.Key, value []byte) (Stored, error) {
	return n.PutWith(ctx, key, value, PutOptions{})
}

// PutWith is Put with options. When fewer than Quorum peers stored the record,
// the error is a *PutError; also when this node alone has, though it was told of peers
// through which to join a network, and is connected to none. The record is published
// there all the same once the node has joined.
func (n *Node) PutWith(ctx context.Context, key routing.Key, value []byte, o PutOptions) (Stored, error) {
	switch o.Kind {
	case 0, wire.KindContent, wire.KindOwned, wire.KindOpen:
		return n.put(ctx, key, value, o)
	}
	return Stored{}, fmt.Errorf("put: records of kind %v are not put by hand", o.Kind)
}

// put is PutWith for provider records, too, whose value it makes itself.
func (n *Node) put(ctx context.Context, key routing.Key, value []byte, o PutOptions) (Stored, error) {
	if err := n.ready(ctx); err != nil {
		return Stored{}, err
	}
	r, err := n.sign(key, value, o)
	if err == nil {
		err = n.validate(r)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("put: %w", err)
	}
	put := func() (Stored, error) {
		if o.IfSeq != nil {
			return n.publishIf(ctx, r, o.Quorum, *o.IfSeq)
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
	if err := n.clockFault(); err != nil {
		return nil, err
	}
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

// clockFault returns an error when our clock is so far off that others would
// refuse what we sign, and we what they did.
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

// anyOf reports whether any peer refused a record for one of these reasons.
func anyOf(causes map[wire.PeerID]error, codes ...wire.Code) bool {
	for _, cause := range causes {
		if slices.ContainsFunc(codes, func(code wire.Code) bool { return errors.Is(cause, code) }) {
			return true
		}
	}
	return false
}

// publish stores a record on the k nearest to its key.
func (n *Node) publish(ctx context.Context, r *wire.Signed, quorum int) (Stored, error) {
	s, _, err := n.storeWhileLookingUp(ctx, r, quorum)
	return s, err
}

// storeWhileLookingUp is publish, and tells who did not store the record, and why: the merged
// put, which stores while it looks up.
func (n *Node) storeWhileLookingUp(ctx context.Context, r *wire.Signed, quorum int) (Stored, map[wire.PeerID]error, error) {
	key := r.Record.Key
	records := []*wire.Signed{r}
	n.awaitJoin(ctx)
	out, err := n.lookups.Run(ctx, lookup.Lookup{Kind: "put", Target: key,
		Options: lookupOptions{Store: storeBeta, Quorum: quorum},
		Ask: func(asking context.Context, q query, out *lookup.Outcome) (lookup.Reply, error) {
			if !q.Store {
				return n.lookups.AskForNodes(asking, q, key, out)
			}
			l, m, err := n.request(asking, q.Addr.ID, wire.Store{Records: records, Count: n.config.K, Bound: q.Bound})
			if err != nil {
				if asking.Err() != nil && ctx.Err() == nil {
					n.storeLate(q.Addr.ID, r)
				}
				return lookup.Reply{}, err
			}
			stored, ok := m.(wire.Stored)
			if !ok || len(stored.Results) != 1 {
				return lookup.Reply{}, unexpected(q.Addr.ID, m)
			}
			// A peer that refuses is still one of the nearest, where readers look. Another
			// beyond the k nearest in its place would be counted, and not be asked.
			if code := stored.Results[0]; code != wire.CodeOK {
				out.Refuse(q.Addr.ID, code)
			}
			return lookup.Reply{Closer: out.AddReferrals(l, stored.Contacts)}, nil
		}})
	if out == nil {
		return Stored{Key: key}, nil, fmt.Errorf("put %s: %w", key, err)
	}
	alone := out.Answered() == 0 && len(out.Causes()) > 0 // peers are known, and gone
	s := Stored{Key: key}
	ours := false
	for c := range out.Closest() {
		switch {
		case out.Causes()[c.Addr.ID] != nil: // refused
		case c.Addr.ID == n.id:
			ours = true
		default:
			s.Count++
		}
	}
	if ours && s.Count == 0 && anyOf(out.Causes(), wire.CodeAhead, wire.CodeExpired) {
		ours = false // by their clocks it is none, so by ours: nobody but us would have it
	}
	if ours {
		if herr := n.storeLocal(r); herr != nil {
			out.Causes()[n.id] = herr
		} else {
			s.Count++
		}
	}
	servers := out.Answered()
	if n.mode() == wire.ModeServer {
		servers++
	}
	s.Of = min(n.config.K, servers)
	if err != nil {
		return s, out.Causes(), fmt.Errorf("put %s: %w (%v so far)", key, err, s)
	}
	var cutOff error
	if out.Answered() == 0 {
		cutOff = n.cutOff()
	}
	if alone || cutOff != nil || s.Count < max(quorum, 1) {
		return s, out.Causes(), &PutError{Stored: s, Quorum: quorum, Alone: alone, Causes: out.Causes(), CutOff: cutOff}
	}
	return s, out.Causes(), nil
}

// storeLate stores a record on a peer whose answer a put did not await. If the peer
// is connected, its STORE is on the way already: QUIC sends it again if need be.
// Otherwise the peer is still being dialled.
func (n *Node) storeLate(id wire.PeerID, r *wire.Signed) {
	if l := n.linkWith(id); l != nil && l.IsUp() {
		return
	}
	n.tryInBackground(n.storing, func(ctx context.Context) {
		n.request(ctx, id, wire.Store{Records: []*wire.Signed{r}})
	})
}

// storeLocal keeps a record of our own user's here.
func (n *Node) storeLocal(r *wire.Signed) error {
	return n.values.Put(time.Now(), []store.Item{{Record: r}})[0]
}

// repairLocal keeps here a newer version of what we hold, as a get has found it: unless we
// are a holder, for a while only. The next version would not be brought to us, and
// our own gets begin here.
func (n *Node) repairLocal(r *wire.Signed) error {
	now := time.Now()
	nearer := n.routes.Closer(r.Record.Key)
	holders := n.config.K + n.config.K/deadSlack
	return n.values.Put(now, []store.Item{{
		Record: r,
		Cached: nearer > holders,
		Life:   store.CacheLife(r.Record.Kind, r.Record.Expiry.Sub(now), nearer, holders),
	}})[0]
}

// verify checks a record that somebody else hands us. The signature of one that
// is held already has been checked.
func (n *Node) verify(s *wire.Signed, now time.Time) error {
	if !n.values.Has(now, s) {
		if err := s.Verify(now); err != nil {
			return err
		}
	}
	return n.validate(s)
}

// verifyCode tells the sender of a record what is wrong with it.
func verifyCode(err error) wire.Code {
	if errors.Is(err, errNoResult) {
		return wire.CodeBusy
	}
	return wire.CodeOf(err)
}

// storeCode is what a store made of a record.
func storeCode(err error) wire.Code {
	if err == nil {
		return wire.CodeOK
	}
	var code wire.Code
	if errors.As(err, &code) {
		return code
	}
	return wire.CodeInternal
}

// deadSlack is how many parts of k may seem to lie nearer to a key, beyond the k
// nearest, of those who have just died: 1/deadSlack.
const deadSlack = 4

// item is a verified record on its way into the store. Beyond the k nearest it
// is a cached copy, and lives the shorter the farther it is (Kademlia §2.3).
// With placed it comes from somebody who has looked for the k nearest alive, or
// is one of them. He may have found out already that some are dead whom we still
// count: a few beyond k, and we are a holder like any other.
func (n *Node) item(s *wire.Signed, l *link, placed bool, now time.Time) store.Item {
	var nearer, neighbours int
	var neighbour, suppresses bool
	n.routes.Locked(func(t *table) {
		nearer = t.Closer(s.Record.Key)
		neighbour = l.IsServer() && n.key.CommonPrefixLen(l.key) >= t.Complete()
		neighbours = t.Len()
		suppresses = s.Record.Publisher == l.id || l.suppressesRepublish(t, s.Record.Key)
	})
	holders := n.config.K
	if placed || suppresses {
		holders += holders / deadSlack
	}
	left := s.Record.Expiry.Sub(now)
	return store.Item{
		Record:    s,
		Source:    l.addr.Addr(),
		Neighbour: neighbour, Neighbours: neighbours,
		Cached:     nearer > holders,
		NoSuppress: !suppresses,
		Life:       store.CacheLife(s.Record.Kind, left, nearer, holders),
	}
}

// Holds reports whether this node itself holds a record of that kind under key.
func (n *Node) Holds(kind wire.Kind, key routing.Key) bool {
	return len(n.values.Get(time.Now(), kind, key, 1)) > 0
}
