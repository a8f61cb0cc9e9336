package node

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// GetOptions say which records to get. The zero value is the first open record
// found.
type GetOptions struct {
	// Kind is KindOpen if zero. Kinds never compete.
	Kind wire.Kind

	// Name, if given, is that of the records wanted: those of another, or of
	// none, are passed over. The key needs not be given then: that of an open
	// record is the name's, of an owned one that of this node's own.
	Name []byte

	// Quorum is how many peers must answer with a record before the best of them
	// is believed to be the newest. If zero, 1; of owned records 3; with Selector
	// all of the k nearest. Negative is an error.
	Quorum int

	// Selector decides between publishers. If nil, the rules of the records'
	// namespace do, or else the one that lives longest is preferred.
	Selector Selector
}

// check returns an error for options that mean nothing.
func (o GetOptions) check() error {
	switch {
	case o.Kind != 0 && !o.Kind.Known():
		return fmt.Errorf("get: %w: %v", wire.ErrBadKind, o.Kind)
	case o.Quorum < 0:
		return fmt.Errorf("get: a quorum of %d peers", o.Quorum)
	}
	return nil
}

// A Value is a record that was found and verified.
type Value struct {
	Data      []byte
	Name      []byte // empty: none
	Key       routing.Key
	Kind      wire.Kind
	Publisher wire.PeerID
	Seq       uint64
	Expiry    time.Time
	From      wire.PeerID // who had it

	// Answers is how many peers had answered with a record under the key, this node
	// among them, when GetWith chose this one. It is below the quorum where the k nearest
	// have answered and fewer hold one. Values leaves it zero.
	Answers int
}

// Get returns the value under key: the first open record found that is valid.
// If there is none the error is ErrNotFound.
func (n *Node) Get(ctx context.Context, key routing.Key) ([]byte, error) {
	v, err := n.GetWith(ctx, key, GetOptions{})
	return v.Data, err
}

// GetWith is Get with options, and returns all there is to know of the record:
// the best of those found. Of owned records that is the newest; of open ones
// that which lives longest, or which the Selector prefers.
//
// What was found is returned even when ctx ends, or peers do not answer, before
// the quorum is reached: with an error beside it, because there may be a better
// one. With a context that has ended already nobody is asked; what this node holds itself
// is returned, without an error if it suffices.
func (n *Node) GetWith(ctx context.Context, key routing.Key, o GetOptions) (Value, error) {
	if err := o.check(); err != nil {
		return Value{}, err
	}
	f := n.newFinding(key, o, nil)
	err := f.run(ctx)
	best, ok := f.winner()
	if err == nil && !ok {
		err = n.notFound()
	}
	var v Value
	if ok {
		v = best.value()
		v.Answers = f.answered()
	}
	if err != nil {
		return v, fmt.Errorf("get %s: %w", f.key, err)
	}
	return v, nil
}

// Values yields every valid record under key as it is found, one of each
// publisher, a newer one again, until the k nearest have answered or the caller
// has seen enough. With Quorum given it ends there. An error comes last.
func (n *Node) Values(ctx context.Context, key routing.Key, o GetOptions) iter.Seq2[Value, error] {
	if o.Quorum == 0 {
		o.Quorum = n.config.K + 1 // to the walk's end
	}
	return func(yield func(Value, error) bool) {
		if err := o.check(); err != nil {
			yield(Value{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		hits := make(chan searchResult)
		ended := make(chan error, 1)
		f := n.newFinding(key, o, func(h searchResult) {
			select {
			case hits <- h:
			case <-ctx.Done():
			}
		})
		go func() { ended <- f.run(ctx) }()
		defer func() {
			cancel()
			if ended != nil {
				<-ended
			}
		}()
		for {
			select {
			case h := <-hits:
				if !yield(h.value(), nil) {
					return
				}
			case err := <-ended:
				ended = nil
				if _, ok := f.winner(); !ok && err == nil {
					err = n.notFound()
				}
				if err != nil {
					yield(Value{}, fmt.Errorf("get %s: %w", f.key, err))
				}
				return
			}
		}
	}
}
