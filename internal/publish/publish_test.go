package publish

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// testKey returns the i-th identity of the tests.
func testKey(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func idOf(key ed25519.PrivateKey) wire.PeerID {
	return wire.PeerID(key.Public().(ed25519.PublicKey))
}

func signed(t interface{ Fatal(...any) }, key ed25519.PrivateKey, r wire.Record) *wire.Signed {
	s, err := wire.Sign(r, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newTest makes the Publications of identity 1.
func newTest(life time.Duration) *Publications {
	key := testKey(1)
	return New(Config{
		Self: idOf(key), Life: life, Logger: slog.New(slog.DiscardHandler),
		Sign: func(r wire.Record) (*wire.Signed, error) { return wire.Sign(r, key) },
	})
}

// A stateMap is a StateStore in memory.
type stateMap struct {
	mu sync.Mutex
	by map[string][]byte
}

func (d *stateMap) Save(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = make(map[string][]byte)
	}
	if data == nil {
		delete(d.by, name)
	} else {
		d.by[name] = data
	}
	return nil
}

func (d *stateMap) Saved(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[name], nil
}

func (d *stateMap) Names(prefix string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.by {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, nil
}

// The list has the newest version that a peer stored, or that is under way, and the state
// store says the same, whatever the order of calls.
func TestPublicationsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &stateMap{}
		p := newTest(time.Hour)
		p.Load(d, time.Now())
		var underWay []*Put
		var stands *wire.Signed
		highest := uint64(0) // of those that a peer stored
		seq := uint64(0)
		key := routing.KeyOf("x")
		saved := func() int {
			names, _ := d.Names("published/")
			return len(names)
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				seq++
				r := signed(t, testKey(1), wire.Record{Kind: wire.KindOpen, Key: key, Seq: seq, Expiry: time.Now().Add(time.Hour)})
				put, err := p.Begin(r, rapid.Bool().Draw(t, "once"))
				if err != nil {
					t.Fatal(err)
				}
				if put.version != nil {
					underWay = append(underWay, put)
				}
			},
			"end": func(t *rapid.T) {
				if len(underWay) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(underWay)-1).Draw(t, "which")
				put := underWay[i]
				underWay = append(underWay[:i:i], underWay[i+1:]...)
				ok := rapid.Bool().Draw(t, "ok")
				var o Outcome
				if ok {
					o.Count = 3
				}
				if err := p.End(put, o); err != nil {
					t.Fatal(err)
				}
				if ok && put.record.Record.Seq > highest {
					stands, highest = put.record, put.record.Record.Seq
					if put.once {
						stands = nil
					}
				}
			},
			"": func(t *rapid.T) {
				if len(underWay) > 0 {
					return
				}
				x, _ := p.published.get(Key{wire.KindOpen, key})
				switch {
				case stands == nil && (x != nil || saved() != 0):
					t.Fatalf("%+v is in the list, %d saved; want nothing", x, saved())
				case stands == nil:
				case x == nil || x.version.record != stands || x.version.before != nil || saved() != 1:
					t.Fatalf("%+v is in the list, %d saved; want sequence %d", x, saved(), stands.Record.Seq)
				}
			},
		})
	})
}

func TestPublicationsAreBounded(t *testing.T) {
	p := newTest(time.Hour)
	r := *signed(t, testKey(1), wire.Record{Kind: wire.KindOpen, Expiry: time.Now().Add(time.Hour)})
	for i := range maxPublished + 1 {
		r := r
		r.Record.Key = routing.KeyOf(fmt.Sprint(i))
		put, err := p.Begin(&r, false)
		if (err != nil) != (i == maxPublished) {
			t.Fatalf("put %d: %v", i+1, err)
		}
		if err == nil {
			p.End(put, Outcome{Count: 1})
		}
	}
	if again := newTest(time.Hour); again.adopt(&r, 0) != nil {
		t.Error("the first was refused")
	}
	start := time.Now()
	due := p.Due(start.Add(time.Hour), false, nil)
	t.Logf("%d are due, found in %v", len(due), time.Since(start))
	if len(due) != maxPublished {
		t.Error(len(due))
	}
}

// A saved publication of another publisher, or a damaged one, is not published and stays
// where it is.
func TestForeignPublicationsAreLeftAlone(t *testing.T) {
	other := signed(t, testKey(5), wire.Record{Kind: wire.KindOpen, Expiry: time.Now().Add(time.Hour)})
	d := &stateMap{by: map[string][]byte{
		"published/torn":    []byte("no record"),
		"published/another": wire.AppendSigned(nil, other),
	}}
	p := newTest(time.Hour)
	if errs := p.published.load(d, p.adoptSaved); len(errs) != 2 || len(p.List()) != 0 || len(d.by) != 2 {
		t.Errorf("%v; published %v, %d saved", errs, p.List(), len(d.by))
	}
}

// To unpublish what is being signed again is no race.
func TestUnpublishWhileRenewed(t *testing.T) {
	p := newTest(time.Hour)
	for i := range 200 {
		r := signed(t, testKey(1), wire.Record{Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Seq: 1, Expiry: time.Now().Add(time.Hour)})
		put, err := p.Begin(r, false)
		if err != nil {
			t.Fatal(err)
		}
		p.End(put, Outcome{Count: 1})
		p.published.mu.Lock()
		v := p.published.by[KeyOf(r)].version
		w := Renewal{v, v.record, v.record.Record.Seq + 1}
		p.published.mu.Unlock()
		done := make(chan error)
		go func() {
			_, err := p.resign(w)
			done <- err
		}()
		if tombstone, err := p.Unpublish(KeyOf(r)); err != nil || tombstone == nil {
			t.Fatal(tombstone, err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// The oldest retractions are forgotten when there are too many.
func TestRetractionsAreBounded(t *testing.T) {
	p := newTest(time.Hour)
	at := func(i int) Key { return Key{wire.KindOpen, routing.KeyOf([]byte(fmt.Sprint(i)))} }
	for i := range maxRetracted + 2 {
		if err := p.addRetraction(at(i), uint64(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.retractions.by); n != maxRetracted {
		t.Errorf("%d retractions are remembered, want %d", n, maxRetracted)
	}
	if _, ok := p.retractions.get(at(1)); ok {
		t.Error("the oldest retractions are remembered")
	}
	if seq, ok := p.retractions.get(at(2)); !ok || seq != 102 {
		t.Errorf("retraction 2: %d, %v", seq, ok)
	}
}

// There are no more labels than publications.
func TestLabelsAreBounded(t *testing.T) {
	p := newTest(time.Hour)
	for i := range maxPublished + 1000 {
		at := Key{wire.KindOpen, routing.Key{byte(i), byte(i >> 8), byte(i >> 16), 1}}
		if i < 1000 {
			at.Key[2] = 9
		} else if len(p.published.by) < maxPublished {
			p.published.by[at] = &publication{}
		}
		if err := p.setLabel(at, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.labels.by); n > maxPublished {
		t.Errorf("%d labels are kept, want at most %d", n, maxPublished)
	}
}
