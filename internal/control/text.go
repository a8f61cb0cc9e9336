package control

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/kadquic/kadquic/wire"
)

// A Kind is a wire.Kind that JSON calls by its name.
type Kind wire.Kind

// kinds are those that a user meets.
var kinds = []wire.Kind{wire.KindOpen, wire.KindOwned, wire.KindContent, wire.KindPeer, wire.KindProvider}

// ParseKind reads the name of a kind, as String writes it.
func ParseKind(s string) (Kind, error) {
	for _, k := range kinds {
		if k.String() == s {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("no kind of record is called %q; there are content, owned, open, peer and provider", s)
}

func (k Kind) String() string { return wire.Kind(k).String() }

// MarshalText is String as bytes.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is ParseKind.
func (k *Kind) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKind(string(text))
	return err
}

// A Duration is a time.Duration that JSON tells in milliseconds, to the
// microsecond.
type Duration time.Duration

// MarshalJSON writes milliseconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(d).Round(time.Microsecond)) / float64(time.Millisecond))
}

// UnmarshalJSON reads milliseconds, to the nearest microsecond.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	const most = float64(math.MaxInt64 / int64(time.Millisecond))
	if math.Abs(ms) >= most {
		return fmt.Errorf("a duration of %g ms is too long", ms)
	}
	*d = Duration(time.Duration(math.Round(ms*1000)) * time.Microsecond)
	return nil
}

// textOf is b as text, if it is UTF-8.
func textOf(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return ""
}
