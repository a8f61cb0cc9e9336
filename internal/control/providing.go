package control

import (
	"context"
	"iter"

	"github.com/kadquic/kadquic/wire"
)

func (l *local) Provide(ctx context.Context, p Provide) (Stored, error) {
	if p.Stop {
		return Stored{Key: p.Key}, l.node.StopProviding(ctx, p.Key)
	}
	stored, err := l.node.Provide(ctx, p.Key)
	if stored.Count > 0 {
		l.label(wire.KindProvider, p.Key, p.Label)
	}
	return storedOf(stored), err
}

func (l *local) Providers(ctx context.Context, k Key) iter.Seq2[Provider, error] {
	return func(yield func(Provider, error) bool) {
		for p, err := range l.node.FindProviders(ctx, k.Key) {
			if err != nil {
				yield(Provider{}, err)
				return
			}
			q := Provider{ID: p.ID, Addrs: addrStrings(p.Multiaddrs()), Expiry: p.Expiry.UTC(), From: p.From}
			if p.Mode != wire.ModeUnknown {
				q.Mode = p.Mode.String()
			}
			if !yield(q, nil) {
				return
			}
		}
	}
}
