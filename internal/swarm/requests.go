package swarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// MaxInFlight bounds the requests to one peer that are under way at once.
const MaxInFlight = 64

const (
	// PingAfter is how long a request goes unanswered before a PING is sent. Its answer
	// tells a slow reply from a stalled stream.
	PingAfter = 500 * time.Millisecond

	// StalledAfter is how long that PING goes unanswered before the Monitor says whether
	// the stream is stalled.
	StalledAfter = time.Second
)

// ErrNoAnswer ends a request that the peer left unanswered for the limit. It is also
// context.DeadlineExceeded.
var ErrNoAnswer = fmt.Errorf("%w: no answer in time", context.DeadlineExceeded)

// ErrStalled ends requests when unread application streams have used up the flow control
// window. The caller may retry: the retry opens another connection.
var ErrStalled = errors.New("unread application streams block the connection")

// ErrConnClosed ends requests when the connection closes for a reason that is not the
// peer's fault: idle, merged with another, or leaving. The caller may retry.
var ErrConnClosed = errors.New("connection closed")

// A RequestStream is the multiplexed request stream of one connection: frames with
// request IDs, each side numbering its own requests, replies in any order. One goroutine
// reads (Run); writing starts a goroutine only while QUIC is blocked (sendQueue). Make it with
// [NewRequestStream]. Goroutines may share it.
type RequestStream struct {
	out     *sendQueue
	in      *wire.Reader
	limit   time.Duration // how long a request may go unanswered
	slots   chan struct{} // one per request under way
	monitor Monitor

	began time.Time
	heard atomic.Int64         // when the last frame arrived, as a duration since began
	spare atomic.Pointer[call] // for the next request; nil: none

	mu      sync.Mutex
	pending map[uint64]*call
	next    uint64
	watch   *time.Timer // runs while requests are pending
	ping    uint64      // ID of the PING that is unanswered, see pingAge; 0: none
	pinged  time.Time   // when it was sent
	err     error       // why the stream ended
}

// A Monitor learns how the requests of a stream end, and decides what that means.
type Monitor interface {
	// MayStall reports whether the stream may be stalled. RequestStream asks when a request
	// has gone unanswered for PingAfter, and at intervals from then on. If so, it sends a
	// PING.
	MayStall() bool

	// IsStalled reports whether the stream is stalled. RequestStream asks when that PING has
	// gone unanswered for StalledAfter, and at intervals from then on. If so, the requests
	// fail with ErrStalled.
	IsStalled(unanswered time.Duration) bool

	// HandleSilence is called when a request went unanswered for the limit and no frame
	// arrived meanwhile. The peer, or the path to it, is gone.
	HandleSilence()

	// HandleLate is called when a reply arrives after the caller's context has ended.
	HandleLate(m wire.Message, took time.Duration)
}

// A call is one request under way.
type call struct {
	reply chan result // buffered, answered once
	sent  time.Time
	left  wire.Message // the request, once its caller has left; guarded by RequestStream.mu
}

type result struct {
	msg wire.Message
	err error
}

// NewRequestStream serves a QUIC stream that both ends agree to be their request stream.
// limit bounds how long a request may go unanswered.
func NewRequestStream(s *quic.Stream, limit time.Duration, over Monitor) *RequestStream {
	return &RequestStream{
		out:     newSendQueue(s),
		in:      wire.NewReader(s, wire.MaxFrame),
		limit:   limit,
		slots:   make(chan struct{}, MaxInFlight),
		monitor: over,
		began:   time.Now(),
		pending: make(map[uint64]*call),
	}
}

// Call sends a request and returns its reply and the time that took. When ctx ends first
// the request stays under way: so a peer that never answers is detected even if callers do
// not wait, and a peer that answers late does not count as silent.
func (r *RequestStream) Call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
	c := r.spare.Swap(nil)
	if c == nil {
		c = &call{reply: make(chan result, 1)}
	}
	c.sent = time.Now()
	r.mu.Lock()
	if r.err != nil {
		err := r.err
		r.mu.Unlock()
		<-r.slots
		return nil, 0, err
	}
	r.next++
	id := r.next
	r.pending[id] = c
	if len(r.pending) == 1 {
		if r.watch == nil {
			r.watch = time.AfterFunc(min(r.limit, PingAfter), r.overdue)
		} else {
			r.watch.Reset(min(r.limit, PingAfter))
		}
	}
	r.mu.Unlock()

	if err := r.out.send(wire.Frame{ID: id, Body: m}); err != nil {
		r.finish(id, result{err: err})
	}
	select {
	case res := <-c.reply:
		took := time.Since(c.sent)
		r.spare.Store(c) // answered and received: no other goroutine refers to it
		return res.msg, took, res.err
	case <-ctx.Done():
		r.mu.Lock()
		c.left = m
		r.mu.Unlock()
		return nil, 0, context.Cause(ctx)
	}
}

// finish ends a request with its result, if the request is still pending.
func (r *RequestStream) finish(id uint64, res result) {
	r.mu.Lock()
	c, ok := r.pending[id]
	delete(r.pending, id)
	if len(r.pending) == 0 && r.watch != nil {
		r.watch.Stop()
	}
	if id == r.ping {
		r.ping = 0
	}
	var left wire.Message
	if ok {
		left = c.left
	}
	r.mu.Unlock()
	if !ok {
		return
	}
	c.reply <- res
	<-r.slots
	if left != nil && res.err == nil {
		r.monitor.HandleLate(left, time.Since(c.sent))
	}
}

// overdue fails the requests that have gone unanswered for too long. It tells the monitor
// if no frame arrived in all that time.
func (r *RequestStream) overdue() {
	now := time.Now()
	limit, err := r.limit, ErrNoAnswer
	unanswered := r.pingAge(now)
	stuck := unanswered >= StalledAfter && r.monitor.IsStalled(unanswered)
	if stuck {
		limit, err = min(r.limit, PingAfter), ErrStalled
	}
	silent := false
	var late []*call
	r.mu.Lock()
	next := min(r.limit, StalledAfter)
	if left := StalledAfter - now.Sub(r.pinged); r.ping != 0 && left > 0 {
		next = min(next, left)
	}
	for id, c := range r.pending {
		age := now.Sub(c.sent)
		if age < limit {
			next = min(next, r.limit-age)
			if age < PingAfter {
				next = min(next, PingAfter-age)
			}
			continue
		}
		delete(r.pending, id)
		late = append(late, c)
		silent = silent || !stuck && time.Duration(r.heard.Load()) < c.sent.Sub(r.began)
	}
	if len(r.pending) > 0 && r.err == nil { // with none, the next call sets it
		r.watch.Reset(next)
	}
	r.mu.Unlock()
	for _, c := range late {
		c.reply <- result{err: err}
		<-r.slots
	}
	if silent {
		r.monitor.HandleSilence()
	}
}

// pingAge returns for how long the PING has gone unanswered that detects a stalled stream.
// If no PING is under way, and a request has gone unanswered for PingAfter, it sends one:
// a peer that takes long to answer the request answers a PING at once.
func (r *RequestStream) pingAge(now time.Time) time.Duration {
	r.mu.Lock()
	id, pinged := r.ping, r.pinged
	var waited time.Duration
	for _, c := range r.pending {
		waited = max(waited, now.Sub(c.sent))
	}
	r.mu.Unlock()
	if id != 0 {
		return now.Sub(pinged)
	}
	if waited < PingAfter || waited >= r.limit || !r.monitor.MayStall() {
		return 0
	}
	r.mu.Lock()
	r.next++
	id = r.next
	r.ping, r.pinged = id, now
	r.mu.Unlock()
	_ = r.out.send(wire.Frame{ID: id, Body: wire.Ping{}}) // an error ends the stream
	return 0
}

// Read returns the next frame and notes that the peer is alive. Run calls it; before Run
// the caller may, for HELLO.
func (r *RequestStream) Read() (wire.Frame, error) {
	f, err := r.in.ReadFrame()
	if f.Body != nil {
		r.heard.Store(int64(time.Since(r.began)))
	}
	return f, err
}

// Run reads frames until the stream ends, or until nothing can be sent any more. It gives
// replies to the requests that wait for them and all other frames to serve, in order. An
// invalid frame does not affect the frames after it: serve answers an invalid request (err
// says why), an invalid reply fails its request.
func (r *RequestStream) Run(serve func(f wire.Frame, err *wire.InvalidError) error) error {
	corked := false
	for {
		f, err := r.Read()
		invalid, ok := errors.AsType[*wire.InvalidError](err)
		if err != nil && !ok {
			return cmp.Or(r.out.failure(), err)
		}
		more := r.in.More()
		if more && !corked {
			corked = true
			r.out.cork()
		}
		if err := r.handle(f, invalid, serve); err != nil {
			return err
		}
		if corked && !more {
			corked = false
			if err := r.out.uncork(); err != nil {
				return err
			}
		}
	}
}

// handle gives one frame to its request or to serve.
func (r *RequestStream) handle(f wire.Frame, invalid *wire.InvalidError, serve func(wire.Frame, *wire.InvalidError) error) error {
	switch f.Body.(type) {
	case wire.Pong, wire.Nodes, wire.Value, wire.Stored, wire.Providers, wire.Wanted, wire.Dialled, wire.Error, wire.Reserved, wire.Called:
		r.finish(f.ID, result{msg: f.Body}) // finish ignores a reply that comes too late
		return nil
	}
	if invalid != nil && !f.IsRequest() {
		if f.IsReply() {
			r.finish(f.ID, result{err: invalid})
		}
		return nil
	}
	return serve(f, invalid)
}

// Send sends a frame, or queues it. It does not block.
func (r *RequestStream) Send(f wire.Frame) error { return r.out.send(f) }

// IsBlocked reports whether the latest frame may have met a closed flow control window.
func (r *RequestStream) IsBlocked() bool { return r.out.isBlocked() }

// End fails every request under way and all later ones.
func (r *RequestStream) End(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = ErrConnClosed
	}
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	calls := r.pending
	r.pending = make(map[uint64]*call)
	if r.watch != nil {
		r.watch.Stop()
	}
	r.mu.Unlock()
	for _, c := range calls {
		c.reply <- result{err: err}
		<-r.slots
	}
}
