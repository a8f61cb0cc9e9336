package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A fake is a node of which a test says what it answers; the rest panics.
type fake struct {
	API
	put    func(context.Context, Put) (Stored, error)
	values func(context.Context, Get) iter.Seq2[Value, error]
}

func (f *fake) Put(ctx context.Context, p Put) (Stored, error) { return f.put(ctx, p) }
func (f *fake) Values(ctx context.Context, g Get) iter.Seq2[Value, error] {
	return f.values(ctx, g)
}

// pipes is a listener in memory, so that a server can run in virtual time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, ErrNoDaemon
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs a server of api in a bubble of virtual time, and test against it;
// stop ends the server and returns how long that took.
func serve(t *testing.T, api API, test func(t *testing.T, c *Client, stop func() time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, l, api, nil) }()
		stop := sync.OnceValue(func() time.Duration {
			start := time.Now()
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			return time.Since(start)
		})
		defer stop()
		test(t, newClient("pipe", l.dial), stop)
	})
}

func seqOf(err error, values ...Value) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			yield(Value{}, err)
		}
	}
}

// What one end says the other hears.
func TestBothEndsAgree(t *testing.T) {
	seq := uint64(7)
	want := Put{
		Kind: Kind(wire.KindOwned), Key: routing.KeyOf("k"), Name: []byte("n\x00\xff"), Value: []byte{0, 1, 0xff},
		TTL: Duration(90 * time.Minute), Quorum: 3, IfSeq: &seq, Label: "k",
	}
	stored := Stored{Key: routing.KeyOf("k"), Count: 19, Of: 20}
	publisher := wire.PeerID(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey))
	values := []Value{
		{Kind: Kind(wire.KindOpen), Data: []byte("one"), Text: "one", Publisher: publisher, Seq: 1, Expiry: time.UnixMilli(5e12).UTC(), Answers: 2},
		{Kind: Kind(wire.KindContent), Data: []byte{0xff}},
	}
	var got Put
	serve(t, &fake{
		put:    func(_ context.Context, p Put) (Stored, error) { got = p; return stored, nil },
		values: func(context.Context, Get) iter.Seq2[Value, error] { return seqOf(nil, values...) },
	}, func(t *testing.T, c *Client, _ func() time.Duration) {
		s, err := c.Put(t.Context(), want)
		if err != nil || s != stored || !reflect.DeepEqual(got, want) {
			t.Errorf("Put(%+v) = %v, %v; the node was asked for %+v", want, s, err, got)
		}
		var heard []Value
		for v, err := range c.Values(t.Context(), Get{Kind: Kind(wire.KindOpen)}) {
			if err != nil {
				t.Error(err)
			}
			heard = append(heard, v)
		}
		if !reflect.DeepEqual(heard, values) {
			t.Errorf("the values %v arrived as %v", values, heard)
		}
		for range c.Values(t.Context(), Get{Kind: Kind(wire.KindOpen)}) {
			break // the caller may stop early
		}
	})
}

// An error keeps its words and its meaning.
func TestErrorsKeepTheirMeaning(t *testing.T) {
	for _, sentinel := range codes {
		err := fmt.Errorf("put %q: %w", "x", sentinel.err)
		serve(t, &fake{
			put: func(context.Context, Put) (Stored, error) { return Stored{}, err },
			values: func(context.Context, Get) iter.Seq2[Value, error] {
				return seqOf(err, Value{Kind: Kind(wire.KindOpen)})
			},
		}, func(t *testing.T, c *Client, _ func() time.Duration) {
			check := func(got error) {
				if got == nil || got.Error() != err.Error() || !errors.Is(got, sentinel.err) {
					t.Errorf("%v arrived as %v", err, got)
				}
				for _, other := range codes {
					if other.err != sentinel.err && errors.Is(got, other.err) {
						t.Errorf("%v is now %v too", got, other.err)
					}
				}
			}
			_, got := c.Put(t.Context(), Put{Kind: Kind(wire.KindOpen)})
			check(got)
			n := 0
			for _, got := range c.Values(t.Context(), Get{Kind: Kind(wire.KindOpen)}) {
				if n++; n == 2 {
					check(got)
				}
			}
			if n != 2 {
				t.Errorf("%d things of the stream, want a value and the error", n)
			}
		})
	}
	both := errorOf(&node.PutError{})
	if !errors.Is(both, node.ErrUnreachable) || errors.Is(both, node.ErrQuorum) {
		t.Errorf("%v lost what it is", both)
	}
}

// A caller who goes away ends the work that was done for it.
func TestCallerGoesAway(t *testing.T) {
	begun, ended := make(chan struct{}, 2), make(chan error, 2)
	waits := func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	serve(t, &fake{
		put: func(ctx context.Context, _ Put) (Stored, error) { return Stored{}, waits(ctx) },
		values: func(ctx context.Context, _ Get) iter.Seq2[Value, error] {
			return func(yield func(Value, error) bool) {
				yield(Value{Kind: Kind(wire.KindOpen)}, nil)
				waits(ctx)
			}
		},
	}, func(t *testing.T, c *Client, _ func() time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Put(ctx, Put{Kind: Kind(wire.KindOpen)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's time was over: %v", err)
		}
		<-begun
		<-ended
		for range c.Values(t.Context(), Get{Kind: Kind(wire.KindOpen)}) {
			break
		}
		<-begun
		<-ended
	})
}

// The server ends within 2 seconds: what takes less is answered, the rest cut.
func TestDrain(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Second, time.Hour} {
		t.Run(takes.String(), func(t *testing.T) {
			begun := make(chan struct{})
			serve(t, &fake{put: func(ctx context.Context, _ Put) (Stored, error) {
				close(begun)
				select {
				case <-time.After(takes):
					return Stored{Count: 1}, nil
				case <-ctx.Done():
					return Stored{}, fmt.Errorf("put: %w", ctx.Err())
				}
			}}, func(t *testing.T, c *Client, stop func() time.Duration) {
				answered := make(chan error, 1)
				go func() {
					_, err := c.Put(t.Context(), Put{Kind: Kind(wire.KindOpen)})
					answered <- err
				}()
				<-begun
				if took := stop(); took > drain {
					t.Errorf("it took %v to end, want at most %v", took, drain)
				}
				if err := <-answered; (err == nil) != (takes < drain) {
					t.Errorf("what takes %v was answered by %v", takes, err)
				}
				if _, err := c.Put(t.Context(), Put{}); !errors.Is(err, ErrNoDaemon) {
					t.Errorf("after the end: %v, want ErrNoDaemon", err)
				}
			})
		})
	}
}

// More commands at once than the server has room for are told so.
func TestBusy(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{})
	serve(t, &fake{put: func(context.Context, Put) (Stored, error) {
		begun <- struct{}{}
		<-release
		return Stored{}, nil
	}}, func(t *testing.T, c *Client, _ func() time.Duration) {
		var all sync.WaitGroup
		for range maxCalls {
			all.Go(func() {
				if _, err := c.Put(t.Context(), Put{Kind: Kind(wire.KindOpen)}); err != nil {
					t.Error(err)
				}
			})
			<-begun
		}
		if _, err := c.Put(t.Context(), Put{Kind: Kind(wire.KindOpen)}); !errors.Is(err, node.ErrBusy) {
			t.Errorf("one more: %v, want ErrBusy", err)
		}
		close(release)
		all.Wait()
	})
}

// A stream that ends without its end was cut off, and the caller is told.
func TestCutStream(t *testing.T) {
	for text, want := range map[string]string{
		"":                              ErrCut.Error(),
		`{"item":{"kind":"open"}}`:      ErrCut.Error(),
		`{"item":`:                      "cannot be read",
		strings.Repeat("x", 2<<20):      "longer than",
		`{"error":"odd","codes":["?"]}`: "odd",
	} {
		c := answering(http.StatusOK, text)
		var last error
		for _, err := range c.Values(t.Context(), Get{}) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, last, want)
		}
	}
}

// answering is the client of a daemon that always answers the same.
func answering(status int, text string) *Client {
	c := newClient("nowhere", nil)
	c.http.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(text))}, nil
	})
	return c
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Requests that are none are refused with the reason.
func TestBadRequests(t *testing.T) {
	h := &handler{mux: mux(&fake{}), slots: make(chan struct{}, 1)}
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/put", ``, 400, "EOF"},
		{"POST", "/v1/put", `{"kind":"strange"}`, 400, "no kind of record"},
		{"POST", "/v1/put", `{"colour":"blue"}`, 400, "colour"},
		{"POST", "/v1/put", `{} {}`, 400, "more than one"},
		{"POST", "/v1/put", `{"value":"` + strings.Repeat("A", maxRequest) + `"}`, 400, "too large"},
		{"POST", "/v1/put", `{"ttl_ms":1e300}`, 400, "too long"},
		{"POST", "/v1/nothing", `{}`, 500, "another version"},
		{"GET", "/v1/put", ``, 500, "another version"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s %.40q: %d %s, want %d %q", test.method, test.path, test.body, w.Code, w.Body, test.status, test.want)
		}
	}
}

// Whatever is asked, the server answers with an object, and lives.
func FuzzServer(f *testing.F) {
	f.Add("put", []byte(`{"kind":"open","key":"","value":"aGVsbG8=","ttl_ms":1000.5,"if_seq":0}`))
	f.Add("values", []byte(`{"kind":"owned","key":"`+routing.KeyOf("x").String()+`","quorum":-1}`))
	f.Add("put", []byte(`{"kind":1e999}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		api := &fake{
			put: func(context.Context, Put) (Stored, error) { return Stored{}, nil },
			values: func(context.Context, Get) iter.Seq2[Value, error] {
				return seqOf(node.ErrNotFound, Value{Kind: Kind(wire.KindOpen)})
			},
		}
		if name != "put" && name != "values" {
			return
		}
		h := &handler{mux: mux(api), slots: make(chan struct{}, 1)}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/"+name, bytes.NewReader(body)))
		c := answering(w.Code, w.Body.String())
		if name == "put" {
			if _, err := c.Put(t.Context(), Put{}); (err == nil) != (w.Code == 200) {
				t.Errorf("answered %d %s, heard as %v", w.Code, w.Body, err)
			}
		}
	})
}

// Whatever a daemon answers, the client returns.
func FuzzClient(f *testing.F) {
	f.Add(200, "{\"item\":{\"kind\":\"open\",\"value\":\"aGVsbG8=\"}}\n{\"end\":true}\n")
	f.Add(200, "{\"error\":\"x\",\"codes\":[\"not_found\"]}")
	f.Add(404, "{\"error\":\"x\",\"codes\":[\"not_found\"]}")
	f.Add(500, "\x00")
	f.Fuzz(func(t *testing.T, status int, text string) {
		c := answering(status, text)
		c.Put(t.Context(), Put{})
		n := 0
		for _, err := range c.Values(t.Context(), Get{}) {
			if n++; err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		}
	})
}
