package control

import (
	"context"
	"iter"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

func (l *local) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for h := range l.node.Records() {
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			r := Record{
				Kind:       Kind(h.Kind),
				Key:        h.Key,
				CommonBits: h.Shared,
				Publisher:  h.Publisher,
				Seq:        h.Seq,
				Expiry:     h.Expiry.UTC(),
				Size:       h.Size,
				Received:   h.Received.UTC(),
				Until:      h.Until.UTC(),
				Cached:     h.Cached,
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (l *local) Durability(ctx context.Context, s Subject) (Durability, error) {
	d, err := l.node.Durability(ctx, wire.Kind(s.Kind), s.Key)
	if err != nil && len(d.Holders) == 0 {
		return Durability{}, err
	}
	out := Durability{Kind: s.Kind, Key: s.Key, Held: d.Count(), Of: len(d.Holders), Holders: make([]Holder, len(d.Holders))}
	for i, h := range d.Holders {
		out.Holders[i] = holderOf(h)
	}
	return out, err
}

func holderOf(h node.Holder) Holder {
	out := Holder{ID: h.ID, Addrs: addrStrings(h.Multiaddrs()), Versions: make([]Version, len(h.Versions)), Behind: h.Behind, RTT: Duration(h.RTT)}
	for i, v := range h.Versions {
		out.Versions[i] = Version{v.Publisher, v.Seq, v.Expiry.UTC()}
	}
	if h.Err != nil {
		out.Error = h.Err.Error()
	}
	return out
}
