package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Bounds of the client, which a daemon never exceeds.
const maxAnswer = 1 << 20 // bytes of one answer, or of one line of a stream

// A Client is the node of another process. It is safe for concurrent use; it
// keeps nothing open between calls.
type Client struct {
	dir  string
	http http.Client
}

// Dial finds the daemon of the profile in dir. If none runs there the error is
// ErrNoDaemon.
func Dial(ctx context.Context, dir string) (*Client, error) {
	probe, err := dial(ctx, dir)
	if errors.Is(err, ErrNoDaemon) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("the daemon of %q: %w", dir, err)
	}
	probe.Close()
	return newClient(dir, func(ctx context.Context) (net.Conn, error) { return dial(ctx, dir) }), nil
}

func newClient(dir string, dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dir: dir, http: http.Client{Transport: &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 8 << 10,
	}}}
}

// Status is the API's.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, "status", struct{}{})
}

// Put is the API's.
func (c *Client) Put(ctx context.Context, p Put) (Stored, error) {
	return ask[Stored](ctx, c, "put", p)
}

// Get is the API's.
func (c *Client) Get(ctx context.Context, g Get) (Value, error) { return ask[Value](ctx, c, "get", g) }

// Values is the API's.
func (c *Client) Values(ctx context.Context, g Get) iter.Seq2[Value, error] {
	return follow[Value](ctx, c, "values", g)
}

// Provide is the API's.
func (c *Client) Provide(ctx context.Context, p Provide) (Stored, error) {
	return ask[Stored](ctx, c, "provide", p)
}

// Providers is the API's.
func (c *Client) Providers(ctx context.Context, k Key) iter.Seq2[Provider, error] {
	return follow[Provider](ctx, c, "providers", k)
}

// Published is the API's.
func (c *Client) Published(ctx context.Context) iter.Seq2[Publication, error] {
	return follow[Publication](ctx, c, "published", struct{}{})
}

// Unpublish is the API's.
func (c *Client) Unpublish(ctx context.Context, s Subject) (Stored, error) {
	return ask[Stored](ctx, c, "unpublish", s)
}

// Records is the API's.
func (c *Client) Records(ctx context.Context) iter.Seq2[Record, error] {
	return follow[Record](ctx, c, "records", struct{}{})
}

// Durability is the API's.
func (c *Client) Durability(ctx context.Context, s Subject) (Durability, error) {
	return ask[Durability](ctx, c, "durability", s)
}

// Backup is the API's.
func (c *Client) Backup(ctx context.Context, w io.Writer) error { return c.download(ctx, "backup", w) }

// Restore is the API's.
func (c *Client) Restore(ctx context.Context, r io.Reader) (Merged, error) {
	return send[Merged](ctx, c, "restore", r)
}

// Lookup is the API's.
func (c *Client) Lookup(ctx context.Context, l Lookup) iter.Seq2[Step, error] {
	return follow[Step](ctx, c, "lookup", l)
}

// Ping is the API's.
func (c *Client) Ping(ctx context.Context, p Peer) (Pong, error) { return ask[Pong](ctx, c, "ping", p) }

// ask sends a request that has one answer.
func ask[Out any](ctx context.Context, c *Client, name string, in any) (out Out, err error) {
	w, err := c.send(ctx, name, in)
	if e, ok := errors.AsType[*Error](err); ok && e.Item != nil && json.Unmarshal(e.Item, &out) != nil {
		var none Out
		return none, err
	}
	if err != nil {
		return out, err
	}
	return answerOf[Out](ctx, w)
}

// answerOf reads the one answer.
func answerOf[Out any](ctx context.Context, w *http.Response) (out Out, err error) {
	body := w.Body
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return out, cut(ctx, err)
	}
	if len(b) > maxAnswer {
		return out, fmt.Errorf("the daemon's answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the daemon's answer cannot be read: %w", err)
	}
	return out, nil
}

// follow sends a request whose answer is a sequence.
func follow[Out any](ctx context.Context, c *Client, name string, in any) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		var none Out
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w, err := c.send(ctx, name, in)
		if err != nil {
			yield(none, err)
			return
		}
		defer w.Body.Close()
		s := bufio.NewScanner(w.Body)
		s.Buffer(nil, maxAnswer)
		for s.Scan() {
			var l line[Out]
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				yield(none, fmt.Errorf("the daemon's answer cannot be read: %w", err))
				return
			}
			switch {
			case l.Item != nil:
				if !yield(*l.Item, nil) {
					return
				}
			case l.Message != "":
				yield(none, &Error{Message: l.Message, Codes: l.Codes})
				return
			case l.End:
				return
			}
		}
		yield(none, cut(ctx, s.Err()))
	}
}

// send sends a request and returns the answer, if it is one of success.
func (c *Client) send(ctx context.Context, name string, in any) (*http.Response, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return c.post(ctx, name, "application/json", bytes.NewReader(b))
}

func (c *Client) post(ctx context.Context, name, kind string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kad/v1/"+name, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	if end, ok := ctx.Deadline(); ok {
		// A little less than we have ourselves, so that its answer still finds us.
		left := time.Until(end)
		left -= min(left/10, 250*time.Millisecond)
		r.Header.Set(timeHeader, strconv.FormatInt(max(0, left.Milliseconds()), 10))
	}
	w, err := c.http.Do(r)
	if err != nil {
		return nil, cut(ctx, err)
	}
	if w.StatusCode == http.StatusOK {
		return w, nil
	}
	defer w.Body.Close()
	e := new(Error)
	b, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	if err != nil {
		return nil, cut(ctx, err)
	}
	if json.Unmarshal(b, e) != nil || e.Message == "" {
		return nil, fmt.Errorf("the daemon answers %q", w.Status)
	}
	return nil, e
}

// cut says why an answer did not come, or not all of it.
func cut(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking the daemon: %w", context.Cause(ctx))
	case errors.Is(err, ErrNoDaemon):
		return err
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("a line of the daemon's answer is longer than %d bytes", maxAnswer)
	case err == nil:
		return ErrCut
	}
	if op, ok := errors.AsType[*net.OpError](err); ok { // without its "read unix @->…", which tells a user nothing
		err = op.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return fmt.Errorf("%w (%v)", ErrCut, err)
}
