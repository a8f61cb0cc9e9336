package control

import (
	"context"
	"iter"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func (l *local) Published(ctx context.Context) iter.Seq2[Publication, error] {
	return func(yield func(Publication, error) bool) {
		for _, p := range l.node.Published() {
			if err := ctx.Err(); err != nil {
				yield(Publication{}, err)
				return
			}
			if !yield(publicationOf(p), nil) {
				return
			}
		}
	}
}

func publicationOf(p node.Publication) Publication {
	q := Publication{
		Kind:     Kind(p.Kind),
		Key:      p.Key,
		Name:     p.Name,
		NameText: textOf(p.Name),
		Label:    p.Label,
		Size:     p.Size,
		Seq:      p.Seq,
		Expiry:   p.Expiry.UTC(),
		Next:     p.Next.UTC(),
		Stored:   p.Stored.Count,
		Of:       p.Stored.Of,
	}
	if !p.Renewed.IsZero() {
		q.Renewed = p.Renewed.UTC()
	}
	if p.Err != nil {
		q.Error = p.Err.Error()
	}
	return q
}

// label stores the user's label of a record that the node keeps alive. It ignores errors:
// the record is published, and the label only helps the user.
func (l *local) label(kind wire.Kind, key routing.Key, label string) {
	if label != "" && l.options.Publisher == nil {
		l.node.SetLabel(kind, key, label)
	}
}

func (l *local) Unpublish(ctx context.Context, s Subject) (Stored, error) {
	stored, err := l.node.Unpublish(ctx, wire.Kind(s.Kind), s.Key)
	return storedOf(stored), err
}
