package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// odd are the arguments to try, by type: zero, negative, huge and nil ones, and some that
// are well formed. n is the node that is called.
func odd(n *Node, ctx context.Context) map[reflect.Type][]any {
	far := wire.JoinPeer(wire.AddrFrom(host(99)), wire.PeerID{9})
	highest, one := uint64(math.MaxUint64), uint64(1)
	all := []any{
		ctx,
		wire.PeerID{}, n.ID(), wire.PeerID{9},
		routing.Key{}, n.Key(), routing.Key(bytes.Repeat([]byte{0xff}, 32)),
		[]byte(nil), []byte{}, []byte("value"), make([]byte, 1<<20),
		0, -1, math.MinInt, math.MaxInt, 1,
		uint64(0), uint64(1), uint64(math.MaxUint64),
		"", "/odd", strings.Repeat("x", 1<<16), "\x00 \xff",
		wire.Kind(0), wire.KindContent, wire.KindOwned, wire.KindOpen, wire.KindPeer, wire.KindProvider, wire.Kind(255),
		ma.Multiaddr(nil), ma.Multiaddr{}, far,
		[]ma.Multiaddr(nil), []ma.Multiaddr{nil}, []ma.Multiaddr{far},
		(*PutOptions)(nil), &PutOptions{}, &PutOptions{Kind: 255}, &PutOptions{Kind: wire.KindPeer},
		&PutOptions{TTL: -1}, &PutOptions{TTL: math.MaxInt64}, &PutOptions{TTL: 1},
		&PutOptions{Quorum: -1}, &PutOptions{Quorum: math.MaxInt},
		&PutOptions{Kind: wire.KindOwned, Name: make([]byte, 1<<16)},
		&PutOptions{Kind: wire.KindOwned, Seq: math.MaxUint64}, &PutOptions{Kind: wire.KindOwned, Seq: wire.MaxSeq},
		&PutOptions{Kind: wire.KindOwned, IfSeq: &highest}, &PutOptions{Kind: wire.KindOwned, IfSeq: &one},
		&PutOptions{IfSeq: &one}, &PutOptions{Kind: wire.KindOwned, Seq: 1, IfSeq: &highest},
		&PutOptions{Publisher: ed25519.PrivateKey{}}, &PutOptions{Publisher: make(ed25519.PrivateKey, ed25519.PrivateKeySize)},
		(*GetOptions)(nil), &GetOptions{}, &GetOptions{Kind: 255}, &GetOptions{Quorum: -1}, &GetOptions{Quorum: math.MaxInt}, &GetOptions{Quorum: math.MinInt},
		&GetOptions{Name: make([]byte, 1<<16)}, &GetOptions{Selector: func(a, b Value) bool { panic("odd") }},
	}
	by := map[reflect.Type][]any{
		reflect.TypeFor[io.Writer]():       {nil, io.Discard},
		reflect.TypeFor[context.Context](): {ctx},
		reflect.TypeFor[func(*Stream)]():   {(func(*Stream))(nil), func(*Stream) {}},
	}
	for _, a := range all[1:] {
		by[reflect.TypeOf(a)] = append(by[reflect.TypeOf(a)], a)
	}
	return by
}

// No method of a node panics or hangs, whatever its arguments are. A method that is new
// is tried, too; one with a parameter of a type that is new fails until odd has some.
func TestOddArguments(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[2]
		typ := reflect.TypeOf(n)
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			switch m.Name {
			case "Close", "Kill", "Start":
				continue
			}
			for args := range product(t, m.Type, 1, func(ctx context.Context) map[reflect.Type][]any { return odd(n, ctx) }) {
				callOdd(t, m.Name, reflect.ValueOf(n).Method(i), args)
			}
		}
	})
}

// callTime bounds the context of each call of TestOddArguments.
const callTime = 5 * time.Second

// product yields all combinations of odd arguments for a function, without the first
// skip of them. The context, if it takes one, is made by callOdd.
func product(t *testing.T, f reflect.Type, skip int, odd func(context.Context) map[reflect.Type][]any) iter.Seq[[]any] {
	by := odd(context.Background())
	var choices [][]any
	for i := skip; i < f.NumIn(); i++ {
		c := by[f.In(i)]
		if len(c) == 0 {
			t.Errorf("no odd arguments of type %v", f.In(i))
			return func(func([]any) bool) {}
		}
		choices = append(choices, c)
	}
	return func(yield func([]any) bool) {
		at := make([]int, len(choices))
		for {
			args := make([]any, len(choices))
			for i, c := range choices {
				args[i] = c[at[i]]
			}
			if !yield(args) {
				return
			}
			i := 0
			for ; i < len(at); i++ {
				if at[i]++; at[i] < len(choices[i]) {
					break
				}
				at[i] = 0
			}
			if i == len(at) {
				return
			}
		}
	}
}

// callOdd calls f, goes through what it yields, and reports a panic or a call that outlives
// its context.
func callOdd(t *testing.T, name string, f reflect.Value, args []any) {
	t.Helper()
	said := func() string { return fmt.Sprintf("%.200v", args) } // takes long for a long slice
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s%s panics: %v", name, said(), r)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	in := make([]reflect.Value, len(args))
	for i, a := range args {
		switch _, ok := a.(context.Context); {
		case ok:
			in[i] = reflect.ValueOf(ctx)
		case a == nil:
			in[i] = reflect.Zero(f.Type().In(i))
		default:
			in[i] = reflect.ValueOf(a)
		}
	}
	start := time.Now()
	var out []reflect.Value
	if f.Type().IsVariadic() {
		out = f.CallSlice(in)
	} else {
		out = f.Call(in)
	}
	for _, o := range out {
		if o.Kind() == reflect.Pointer && o.IsNil() {
			continue
		}
		switch o := o.Interface().(type) {
		case net.Listener:
			o.Close()
		case io.Closer:
			if o != nil {
				o.Close()
			}
		default:
			if v := reflect.ValueOf(o); v.IsValid() && v.Kind() == reflect.Func {
				drainSeq(v)
			}
		}
	}
	if took := time.Since(start); took > callTime+2*time.Second {
		t.Errorf("%s%s took %v", name, said(), took)
	}
}

// drainSeq goes through an iterator.
func drainSeq(seq reflect.Value) {
	yield := reflect.MakeFunc(seq.Type().In(0), func([]reflect.Value) []reflect.Value {
		return []reflect.Value{reflect.ValueOf(true)}
	})
	seq.Call([]reflect.Value{yield})
}

// What cannot work is refused with an error, and leaves nothing behind.
func TestArgumentsRefused(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[1]
		put := func(o PutOptions) error {
			_, err := n.Put(within(t, time.Minute), routing.Key{}, []byte("v"), &o)
			return err
		}
		highest, over := uint64(wire.MaxSeq), uint64(math.MaxUint64)
		handle := func(*Stream) {}
		for name, err := range map[string]error{
			"sequence over MaxSeq":       put(PutOptions{Kind: wire.KindOwned, Seq: MaxSeq + 1}),
			"highest sequence":           put(PutOptions{Kind: wire.KindOwned, Seq: math.MaxUint64}),
			"nothing above IfSeq":        put(PutOptions{Kind: wire.KindOwned, IfSeq: &highest}),
			"IfSeq that wraps around":    put(PutOptions{Kind: wire.KindOwned, IfSeq: &over}),
			"negative TTL":               put(PutOptions{TTL: -1}),
			"TTL over a day":             put(PutOptions{TTL: wire.MaxTTL + 1}),
			"huge TTL":                   put(PutOptions{TTL: math.MaxInt64}),
			"negative quorum":            put(PutOptions{Quorum: -1}),
			"unknown kind":               put(PutOptions{Kind: 255}),
			"half a key":                 put(PutOptions{Publisher: ed25519.PrivateKey{1}}),
			"Handle with no stream":      second(n.Handle("/a", 0, handle)),
			"Handle with a negative one": second(n.Handle("/a", -1, handle)),
			"Handle with the lowest one": second(n.Handle("/a", math.MinInt, handle)),
			"Handle without a function":  second(n.Handle("/a", 1, nil)),
			"Handle without a protocol":  second(n.Handle("", 1, handle)),
			"Backup to nowhere":          n.Backup(nil),
			"Connect without an address": second(n.Connect(within(t, time.Minute), nil)),
			"Learn without an address":   second(n.AddAddr(nil)),
			"Bootstrap with no address":  n.Bootstrap(within(t, time.Minute), nil, nil),
			"Dial nobody":                second(n.Dial(within(t, time.Minute), wire.PeerID{}, "/a")),
			"Dial oneself":               second(n.Dial(within(t, time.Minute), n.ID(), "/a")),
			"Get with a negative quorum": second(n.Get(within(t, time.Minute), routing.KeyOf("v"), &GetOptions{Quorum: -1})),
			"Get of a kind that is none": second(n.Get(within(t, time.Minute), routing.KeyOf("v"), &GetOptions{Kind: 255})),
			"Durability of no kind":      second(n.Durability(within(t, time.Minute), 255, routing.KeyOf("v"))),
			"Unpublish of no kind":       second(n.Unpublish(within(t, time.Minute), 255, routing.KeyOf("v"))),
			"ticket that is empty":       second(ParseTicket("")),
			"ticket of addresses alone":  second(ParseTicket("@,,,")),
			"ticket of an empty address": second(ParseTicket(n.ID().String() + "@")),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if p := n.Published(); len(p) > 0 {
			t.Errorf("what was refused is kept alive: %v", p)
		}
		if ln, err := n.Listen("/a"); err != nil {
			t.Errorf("a handler that was refused listens: %v", err)
		} else {
			ln.Close()
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A publisher always finds a higher sequence number, whichever it chose.
func TestSequencesGoOn(t *testing.T) {
	inSwarm(t, 2, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		n, ctx := s.nodes[1], within(t, time.Minute)
		for _, seq := range []uint64{1, MaxSeq - 1, MaxSeq} {
			name := []byte(fmt.Sprint(seq))
			o := PutOptions{Kind: wire.KindOwned, Name: name, Seq: seq}
			if _, err := n.Put(ctx, routing.Key{}, []byte("one"), &o); err != nil {
				t.Fatalf("seq %d: %v", seq, err)
			}
			for _, v := range []string{"two", "three"} {
				if _, err := n.Put(ctx, routing.Key{}, []byte(v), &PutOptions{Kind: wire.KindOwned, Name: name}); err != nil {
					t.Errorf("seq %d, then %q: %v", seq, v, err)
				}
			}
			v, err := n.Get(ctx, routing.Key{}, &GetOptions{Kind: wire.KindOwned, Name: name})
			if err != nil || string(v.Data) != "three" {
				t.Errorf("seq %d: get %q, %v", seq, v.Data, err)
			}
			if _, err := putIf(ctx, n, name, []byte("four"), v.Seq); err != nil {
				t.Errorf("seq %d: put if %d: %v", seq, v.Seq, err)
			}
			if _, err := n.Unpublish(ctx, wire.KindOwned, wire.OwnedKey(n.ID(), name)); err != nil {
				t.Errorf("seq %d: unpublish: %v", seq, err)
			}
		}
	})
}

// A Config with odd values is refused, or makes a node that works.
func TestOddConfigs(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		typ := reflect.TypeFor[Config]()
		tried := 0
		for i := range typ.NumField() {
			var values []any
			switch typ.Field(i).Type {
			case reflect.TypeFor[int]():
				values = []any{-1, math.MinInt, 1, math.MaxInt}
			case reflect.TypeFor[int64]():
				values = []any{int64(-1), int64(math.MinInt64), int64(1), int64(math.MaxInt64)}
			case reflect.TypeFor[time.Duration]():
				values = []any{time.Duration(-1), time.Duration(math.MinInt64), time.Duration(1), time.Duration(math.MaxInt64)}
			case reflect.TypeFor[string]():
				values = []any{strings.Repeat("x", 1<<16), "\x00"}
			case reflect.TypeFor[Mode]():
				values = []any{Mode(255)}
			case reflect.TypeFor[[]ma.Multiaddr]():
				values = []any{[]ma.Multiaddr{nil}, []ma.Multiaddr{{}}}
			case reflect.TypeFor[[]net.PacketConn]():
				values = []any{[]net.PacketConn{nil}}
			case reflect.TypeFor[ed25519.PrivateKey]():
				values = []any{ed25519.PrivateKey{}, ed25519.PrivateKey{1}}
			case reflect.TypeFor[map[string]Namespace]():
				values = []any{map[string]Namespace{"": {}}, map[string]Namespace{"a/b": {}}, map[string]Namespace{"a": {}}}
			case reflect.TypeFor[*slog.Logger](), reflect.TypeFor[*Trace](), reflect.TypeFor[Discovery](), reflect.TypeFor[bool](), reflect.TypeFor[func(wire.PeerID) error]():
				continue // zero is their only odd value, and the default
			default:
				t.Errorf("Config.%s: no odd values of type %v", typ.Field(i).Name, typ.Field(i).Type)
			}
			for _, v := range values {
				tried++
				var c Config
				reflect.ValueOf(&c).Elem().Field(i).Set(reflect.ValueOf(v))
				if err := tryConfig(s, c, tried); err != nil {
					t.Errorf("Config.%s = %.50v: %v", typ.Field(i).Name, v, err)
				}
			}
		}
	})
}

// tryConfig returns an error if a node can be made with c and does not work.
func tryConfig(s *testNetwork, c Config, i int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if c.Network == "" && c.Bootstrap == nil {
		c.Bootstrap = s.addrs(0)
	}
	if c.PacketConns == nil && c.Listen == nil {
		c.PacketConns = []net.PacketConn{s.net.Listen(host(100 + i))}
	}
	if c.Data != "" {
		return nil // a path
	}
	n, err := New(c)
	if err != nil {
		for _, p := range c.PacketConns {
			if p != nil {
				p.Close()
			}
		}
		return nil // refused
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		return err
	}
	if _, err := n.Put(ctx, routing.KeyOf("x"), []byte("y"), nil); err != nil {
		return err
	}
	if v, err := n.Get(ctx, routing.KeyOf("x"), nil); err != nil || string(v.Data) != "y" {
		return fmt.Errorf("get: %q, %v", v.Data, err)
	}
	time.Sleep(2 * time.Minute) // the tasks run
	return nil
}

// With a context that has ended, every method that takes one returns its error, sends
// nothing and changes nothing.
func TestEndedContext(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, peer := s.nodes[2], s.nodes[1].ID()
		absent := routing.KeyOf("of which the node holds nothing: what it holds is returned")
		key, addr := routing.KeyOf("x"), wire.JoinPeer(wire.AddrFrom(host(99)), wire.PeerID{9})
		s.put(n, key, "v", PutOptions{})
		if _, err := n.Provide(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		fresh, err := New(Config{PacketConns: []net.PacketConn{s.net.Listen(host(98))}, Bootstrap: s.addrs(0)})
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		ops := map[string]func(context.Context) error{
			"FindNodeAt":        func(ctx context.Context) error { return second(n.FindNodeAt(ctx, peer, key)) },
			"Bootstrap":         func(ctx context.Context) error { return n.Bootstrap(ctx, addr) },
			"CheckReachability": func(ctx context.Context) error { return second(n.CheckReachability(ctx)) },
			"Connect":           func(ctx context.Context) error { return second(n.Connect(ctx, addr)) },
			"Dial":              func(ctx context.Context) error { return second(n.Dial(ctx, peer, "/x")) },
			"Durability":        func(ctx context.Context) error { return second(n.Durability(ctx, wire.KindOpen, key)) },
			"FindPeer":          func(ctx context.Context) error { return second(n.FindPeer(ctx, n.ID())) },
			"FindProviders": func(ctx context.Context) (last error) {
				for _, err := range n.FindProviders(ctx, key) {
					last = err
				}
				return last
			},
			"Get":      func(ctx context.Context) error { return second(n.Get(ctx, absent, nil)) },
			"Merge":    func(ctx context.Context) error { return second(n.Merge(ctx, "/nowhere")) },
			"Nearest":  func(ctx context.Context) error { return second(n.Nearest(ctx, key)) },
			"Ping":     func(ctx context.Context) error { return second(n.Ping(ctx, peer)) },
			"Provide":  func(ctx context.Context) error { return second(n.Provide(ctx, routing.KeyOf("p"))) },
			"Put":      func(ctx context.Context) error { return second(n.Put(ctx, routing.KeyOf("k"), []byte("v"), nil)) },
			"PutOwned": func(ctx context.Context) error { return second(putIf(ctx, n, []byte("n"), []byte("v"), 0)) },
			"Rendezvous": func(ctx context.Context) (last error) {
				for _, err := range n.Rendezvous(ctx, routing.KeyOf("r")) {
					last = err
				}
				return last
			},
			"Start":         func(ctx context.Context) error { return fresh.Start(ctx) },
			"StopProviding": func(ctx context.Context) error { return n.StopProviding(ctx, key) },
			"Unpublish":     func(ctx context.Context) error { return second(n.Unpublish(ctx, wire.KindOpen, key)) },
			"Values": func(ctx context.Context) (last error) {
				for _, err := range n.Values(ctx, absent, nil) {
					last = err
				}
				return last
			},
		}
		typ := reflect.TypeOf(n)
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			takes := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
			if takes && ops[m.Name] == nil && m.Name != "Ticket" && m.Name != "Tickets" { // which return what is known
				t.Errorf("%s takes a context and is not tried", m.Name)
			}
		}
		cause := errors.New("the caller has changed its mind")
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		before, sent := n.Published(), n.Stats().Sent
		for name, op := range ops {
			start := time.Now()
			if err := op(ended); !errors.Is(err, cause) {
				t.Errorf("%s: %v, want the cause of the context's end", name, err)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("%s took %v", name, took)
			}
		}
		if after := n.Published(); !reflect.DeepEqual(before, after) {
			t.Errorf("kept alive now: %v, before: %v", after, before)
		}
		if now := n.Stats().Sent; now != sent {
			t.Errorf("requests sent: %v, before: %v", now, sent)
		}
		if len(n.peers.AppendAddrs(nil, wire.PeerID{9}, time.Now())) > 0 {
			t.Error("an address was learned")
		}
		if err := fresh.Start(within(t, time.Minute)); err != nil {
			t.Errorf("a start after one with an ended context: %v", err)
		}
	})
}
