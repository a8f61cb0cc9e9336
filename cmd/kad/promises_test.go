package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// promises are records that one publisher put at one node, and what that node said
// of each: "stored" is a promise. Goroutines may share them.
type promises struct {
	t         testing.TB
	key       []byte // the publisher's, Ed25519
	publisher wire.PeerID
	most      int // records; then new versions of them only

	mu                sync.Mutex
	all               []*promise   // by number; the ith is put by writer i%writers
	next              [writers]int // how many each writer has begun
	tried, kept, lost int          // puts: in all, acknowledged, not
}

// A promise is one record with all its versions so far. One goroutine at a time
// puts it.
type promise struct {
	number   int
	kind     wire.Kind
	key      routing.Key
	name     []byte
	versions []version
}

// A version of a record. Of open and owned ones the ith has the sequence number
// i+1; content has but one value, which is put again to live longer, and so is the
// word of a provider.
type version struct {
	value []byte
	began time.Time
	acked time.Time // when its publisher heard that it was stored; zero: it did not
}

// writers is how many records are put at once.
const writers = 8

// promisedLife is how long every record is to live.
const promisedLife = wire.MaxTTL

func newPromises(t testing.TB, most int) *promises {
	key, err := quic.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &promises{t: t, key: key, publisher: peerIDOf(key), most: most}
}

// client starts a node in the publisher's name that uses the node at addr, and no
// other. Nil if that cannot be reached before ctx ends.
func (p *promises) client(ctx context.Context, addr string) *node.Node {
	peer, err := peerAddr(addr)
	if err != nil {
		p.t.Fatal(err)
	}
	listen, _ := listenAddrs([]string{"/ip4/127.0.0.1/udp/0/quic-v1"})
	n, err := node.New(node.Config{Key: p.key, Mode: node.ModeClient, Listen: listen, RepublishInterval: -1, RPCTimeout: patience})
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err := n.Connect(ctx, peer); err == nil {
			return n
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			n.Kill()
			return nil
		}
	}
}

// write puts records, several at once, until ctx ends.
func (p *promises) write(ctx context.Context, n *node.Node) {
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for ctx.Err() == nil {
				p.put(ctx, n, p.choose(w))
			}
		})
	}
	running.Wait()
}

// choose takes one of the records of the wth writer, or makes one.
func (p *promises) choose(w int) *promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.next[w]
	if full := len(p.all) >= p.most; n > 0 && (full || rand.IntN(3) == 0) {
		return p.all[w+writers*rand.IntN(n)]
	}
	for len(p.all) <= w+writers*n {
		p.add()
	}
	p.next[w]++
	return p.all[w+writers*n]
}

// add makes a record to be put. The caller holds mu.
func (p *promises) add() *promise {
	kinds := [...]wire.Kind{wire.KindOpen, wire.KindOwned, wire.KindContent, wire.KindProvider, wire.KindOwned}
	r := &promise{number: len(p.all), kind: kinds[len(p.all)%len(kinds)]}
	name := fmt.Appendf(nil, "promise %d", r.number)
	switch r.kind {
	case wire.KindOwned:
		r.name, r.key = name, wire.OwnedKey(p.publisher, name)
	case wire.KindContent:
		r.key = wire.ContentKey(r.value(0))
	default:
		r.key = routing.KeyOf(name)
	}
	p.all = append(p.all, r)
	return r
}

// value returns the value of the ith version: 1 byte to 8 KiB, mostly short.
func (r *promise) value(i int) []byte {
	switch r.kind {
	case wire.KindProvider:
		return nil // made by the node
	case wire.KindContent:
		i = 0
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(r.number))
	binary.LittleEndian.PutUint64(seed[8:], uint64(i))
	random := rand.NewChaCha8(seed)
	size := int(math.Exp2(13 * float64(random.Uint64()>>11) / (1 << 53)))
	if i%50 == 49 {
		size = wire.MaxValue
	}
	b := make([]byte, size)
	random.Read(b)
	if r.kind == wire.KindContent {
		b = binary.LittleEndian.AppendUint64(b[:min(size, wire.MaxValue-8)], uint64(r.number)) // no two alike
	}
	return b
}

// put puts the next version of r.
func (p *promises) put(ctx context.Context, n *node.Node, r *promise) {
	p.mu.Lock()
	i := len(r.versions)
	r.versions = append(r.versions, version{value: r.value(i), began: time.Now()})
	v := r.versions[i]
	p.tried++
	p.mu.Unlock()

	var s node.Stored
	var err error
	switch r.kind {
	case wire.KindProvider:
		s, err = n.Provide(ctx, r.key)
	case wire.KindContent:
		s, err = n.Put(ctx, r.key, v.value, &node.PutOptions{Kind: r.kind, TTL: promisedLife})
	default:
		s, err = n.Put(ctx, r.key, v.value, &node.PutOptions{Kind: r.kind, Name: r.name, TTL: promisedLife, Seq: uint64(i + 1)})
	}
	acked := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && s.String() == "stored on 1 of 1" {
		r.versions[i].acked = acked
		p.kept++
	} else {
		p.lost++
		if ctx.Err() == nil && p.lost > 1000+p.kept {
			p.t.Errorf("put: %v, %v", s, err)
			panic("no put succeeds")
		}
	}
}

// A found record is one that the store returned after a failure.
type found struct {
	publisher wire.PeerID
	seq       uint64
	value     []byte
	expiry    time.Time
}

// judge says whether f, nil if there is none, keeps what was promised of r before
// that time. The error says how not.
func (p *promises) judge(r *promise, f *found, before time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := -1
	for i, v := range r.versions {
		if !v.acked.IsZero() && v.acked.Before(before) {
			last = i
		}
	}
	what := fmt.Sprintf("record %d, %v under %s", r.number, r.kind, r.key)
	if f == nil {
		if last >= 0 {
			return fmt.Errorf("%s: version %d was acknowledged and is lost", what, last+1)
		}
		return nil
	}
	if f.publisher != p.publisher {
		return fmt.Errorf("%s: published by %s", what, f.publisher)
	}
	if r.kind == wire.KindContent || r.kind == wire.KindProvider {
		if last >= 0 && f.expiry.Before(r.versions[last].began.Add(promisedLife).Truncate(time.Second)) {
			return fmt.Errorf("%s: it ends at %v, which is before version %d", what, f.expiry, last+1)
		}
		if r.kind == wire.KindContent && !bytes.Equal(f.value, r.value(0)) {
			return fmt.Errorf("%s: a wrong value of %d bytes", what, len(f.value))
		}
		return nil
	}
	i := int(f.seq) - 1
	switch {
	case i < 0 || i >= len(r.versions):
		return fmt.Errorf("%s: version %d, which was never put", what, f.seq)
	case !bytes.Equal(f.value, r.versions[i].value):
		return fmt.Errorf("%s: a wrong value of %d bytes in version %d", what, len(f.value), i+1)
	case i < last:
		return fmt.Errorf("%s: version %d, though %d was acknowledged", what, i+1, last+1)
	}
	return nil
}

// sample returns up to so many records: those put last, and of the others any.
func (p *promises) sample(last, others int) []*promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*promise
	for i := max(0, len(p.all)-last); i < len(p.all); i++ {
		out = append(out, p.all[i])
	}
	for range min(others, len(p.all)) {
		out = append(out, p.all[rand.IntN(len(p.all))])
	}
	return out
}

func (p *promises) everything() []*promise { return p.sample(math.MaxInt32, 0) }

// check gets the records by n and judges them. What cannot be asked because ctx has
// ended, for example since the node was killed, is no fault.
func (p *promises) check(ctx context.Context, n *node.Node, records []*promise) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		wrong   error
		count   int
	)
	for w := range 4 {
		running.Go(func() {
			for i := w; i < len(records); i += 4 {
				f, err := p.get(ctx, n, records[i])
				if ctx.Err() != nil {
					return
				}
				if err == nil {
					err = p.judge(records[i], f, time.Now())
				}
				mu.Lock()
				if err != nil && count < 10 {
					wrong, count = errors.Join(wrong, err), count+1
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return wrong
}

// get returns what n finds of r, nil if it is told that there is nothing.
func (p *promises) get(ctx context.Context, n *node.Node, r *promise) (*found, error) {
	if r.kind == wire.KindProvider {
		for v, err := range n.FindProviders(ctx, r.key) {
			if errors.Is(err, node.ErrNotFound) {
				return nil, nil
			}
			return &found{publisher: v.ID, expiry: v.Expiry}, err
		}
		return nil, nil
	}
	v, err := n.Get(ctx, r.key, &node.GetOptions{Kind: r.kind, Name: r.name, Quorum: 1})
	if errors.Is(err, node.ErrNotFound) {
		return nil, nil
	}
	return &found{v.Publisher, v.Seq, v.Data, v.Expiry}, err
}
