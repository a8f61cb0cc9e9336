package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// GetOptions select the records to get. The zero value selects the first open record
// found.
type GetOptions struct {
	// Kind is KindOpen if zero. Kinds never compete.
	Kind wire.Kind

	// Name, if given, selects the records of that name. The key may then be zero: it
	// follows from the name, for owned records with this node as the publisher.
	Name []byte

	// Quorum is how many peers must answer with a record before the get accepts the
	// best of them as the newest. If zero, 1; for owned records 3; with Selector all
	// of the k nearest. Negative is an error.
	Quorum int

	// Selector decides between publishers. If nil, the rules of the records'
	// namespace decide; without rules, the record that lives longest is preferred.
	Selector Selector
}

// check returns an error for an unknown kind or a negative quorum.
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
	From      wire.PeerID // the node that returned it

	// Answers is how many peers had answered with a record under the key, this node
	// among them, when Get chose this one. It is below the quorum where the k nearest
	// have answered and fewer hold one. Values leaves it zero.
	Answers int
}

// Get returns the best record under key: of owned records the newest, of open records the first
// that is found or, with a quorum or Selector, the one that lives longest or that the Selector
// prefers. The options may be nil. If there is no record the error is ErrNotFound.
//
// If ctx ends or peers do not answer before the quorum is reached, Get returns the best
// record so far together with an error, because there may be a better one. With a context
// that has ended already it asks no peer, and returns a record that this node holds itself,
// without an error if that suffices.
func (n *Node) Get(ctx context.Context, key routing.Key, o *GetOptions) (Value, error) {
	options, err := o.orDefault()
	if err != nil {
		return Value{}, err
	}
	q := n.query(key, options)
	best, answers, err := n.search.Query(ctx, q)
	var v Value
	if best.Record != nil {
		v = valueOf(best)
		v.Answers = answers
	}
	if err != nil {
		return v, n.getError(q.Key, err)
	}
	return v, nil
}

// orDefault returns the options, the default ones for nil, and an error for an unknown kind or
// a negative quorum.
func (o *GetOptions) orDefault() (GetOptions, error) {
	if o == nil {
		return GetOptions{}, nil
	}
	return *o, o.check()
}

// query converts a key and the options of a get into a query.
func (n *Node) query(key routing.Key, o GetOptions) search.Query {
	defaultTo(&o.Kind, wire.KindOpen)
	if key == (routing.Key{}) && len(o.Name) > 0 {
		if key = routing.KeyOf(o.Name); o.Kind == wire.KindOwned {
			key = wire.OwnedKey(n.id, o.Name)
		}
	}
	return search.Query{Key: key, Kind: o.Kind, Name: o.Name, Quorum: o.Quorum, Prefer: o.Selector.order()}
}

// getError adds the key of the failed get to an error.
func (n *Node) getError(key routing.Key, err error) error {
	if errors.Is(err, search.ErrNotFound) {
		err = n.notFound()
	}
	return fmt.Errorf("get %s: %w", key, err)
}

func valueOf(r search.Result) Value {
	v := valueOfRecord(r.Record)
	v.From = r.From
	return v
}

func valueOfRecord(s *wire.Signed) Value {
	r := s.Record
	return Value{Data: r.Value, Name: r.Name, Key: r.Key, Kind: r.Kind, Publisher: r.Publisher, Seq: r.Seq, Expiry: r.Expiry}
}

// Values yields every valid record under key as it is found: one of each publisher,
// and another if a newer one is found. It ends when the k nearest have answered, when
// the quorum is reached if Quorum is given, or when the caller stops. An error comes
// last. The options may be nil.
func (n *Node) Values(ctx context.Context, key routing.Key, o *GetOptions) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		options, err := o.orDefault()
		if err != nil {
			yield(Value{}, err)
			return
		}
		defaultTo(&options.Quorum, search.All)
		q := n.query(key, options)
		for r, err := range n.search.Results(ctx, q) {
			if err != nil {
				yield(Value{}, n.getError(q.Key, err))
			} else if !yield(valueOf(r), nil) {
				return
			}
		}
	}
}

// A Namespace is the rules of an application for the records whose names begin with
// "/NAME/", such as "/chat/room": see Config.Namespaces. Owned and open records have
// names. Every node of a network should have the same rules, because each node applies
// its own.
type Namespace struct {
	// Validate returns an error if a record may be neither stored nor returned by a get.
	// If nil, all records are valid. It is called from any number of goroutines, must not
	// change the value, and must not block: a record on which it takes over a second, or
	// panics, is refused.
	Validate func(Value) error

	// Better decides which of several publishers' records a get returns, unless
	// GetOptions.Selector does. If nil, it returns the record that lives longest.
	Better Selector
}

// A Selector reports whether it prefers a to b, a record of another publisher. It must be
// an order. Unless GetOptions.Quorum ends the get earlier, it sees the records of all publishers
// that the k nearest hold. If it panics, the record that lives longer is preferred.
type Selector func(a, b Value) bool

// ErrRefused says that the rules of a record's namespace do not allow the record.
var ErrRefused = search.ErrRefused

// order converts s to the form that package search takes.
func (s Selector) order() func(a, b search.Result) bool {
	if s == nil {
		return nil
	}
	return func(a, b search.Result) bool { return s(valueOf(a), valueOf(b)) }
}

// newValidators returns validators that apply the rules of Config.Namespaces.
func newValidators(spaces map[string]Namespace, log *slog.Logger) (*search.Validators, error) {
	all := make(map[string]search.Rules, len(spaces))
	for name, space := range spaces {
		rules := search.Rules{Prefer: space.Better.order()}
		if space.Validate != nil {
			rules.Validate = func(r *wire.Signed) error { return space.Validate(valueOfRecord(r)) }
		}
		all[name] = rules
	}
	return search.NewValidators(all, log)
}
