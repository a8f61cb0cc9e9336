package publish

import (
	"fmt"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Key names a publication: a publisher has at most one record of each kind under a key.
type Key struct {
	Kind wire.Kind
	Key  routing.Key
}

// KeyOf returns the key of a record.
func KeyOf(r *wire.Signed) Key { return Key{r.Record.Kind, r.Record.Key} }

func (at Key) String() string { return fmt.Sprintf("%v/%s", at.Kind, at.Key) }
