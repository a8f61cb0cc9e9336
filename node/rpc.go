package node

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

// maxInFlight bounds the requests that one peer is asked, or asks, at once.
const maxInFlight = 64

const (
	// doubtAfter is how long a request goes unanswered before a PING is sent, by which
	// a stream that is stuck differs from an answer that takes long.
	doubtAfter = 500 * time.Millisecond

	// stuckAfter is how long that PING goes unanswered before it is asked whether the
	// stream is stuck.
	stuckAfter = time.Second
)

var errTimeout = fmt.Errorf("%w: no answer in time", context.DeadlineExceeded)

// errStuck is what ends requests when streams that are not read keep them, or their
// answers, from getting through. They may be made anew: there will be another
// connection.
var errStuck = errors.New("application streams that are not read hold the connection up")

// errLinkClosed is what ends requests when the connection ends under them for
// no fault of the peer's (idle, merged, leaving).
var errLinkClosed = errors.New("connection closed")

// An rpc is the multiplexed request stream of one connection: frames with
// request ids, each side numbering its own requests, replies in any order.
// One goroutine reads (run); writing needs none of its own (outbox).
type rpc struct {
	out   *outbox
	in    *wire.Reader
	limit time.Duration // how long a request may go unanswered
	slots chan struct{} // one per request under way
	over  overseer

	began time.Time
	heard atomic.Int64         // of the last frame, a duration since began
	spare atomic.Pointer[call] // for the next request; nil: none

	mu      sync.Mutex
	pending map[uint64]*call
	next    uint64
	watch   *time.Timer // runs while requests are pending
	ping    uint64      // id of the PING that is unanswered, see asked; 0: none
	pinged  time.Time   // when it was sent
	err     error       // why the stream ended
}

// An overseer is told how the requests of a stream fare.
type overseer interface {
	// doubts is asked when a request has gone unanswered for doubtAfter, and then
	// every so often: whether the stream may be stuck. If so, a PING is sent.
	doubts() bool

	// stuck is asked when that PING has gone unanswered for stuckAfter, and then
	// every so often: whether the stream is stuck. If so, the requests fail.
	stuck(unanswered time.Duration) bool

	// silent: a request went unanswered for the limit and nothing at all was heard
	// meanwhile. The peer, or the path to it, is gone.
	silent()

	// late: a request was answered after its caller had left.
	late(m wire.Message, took time.Duration)
}

// A call is one request under way.
type call struct {
	reply chan result // buffered, answered once
	sent  time.Time
	left  wire.Message // the request, once its caller has left; guarded by rpc.mu
}

type result struct {
	msg wire.Message
	err error
}

func newRPC(s *quic.Stream, limit time.Duration, over overseer) *rpc {
	return &rpc{
		out:     newOutbox(s),
		in:      wire.NewReader(s, wire.MaxFrame),
		limit:   limit,
		slots:   make(chan struct{}, maxInFlight),
		over:    over,
		began:   time.Now(),
		pending: make(map[uint64]*call),
	}
}

// call sends a request and returns its reply. When ctx ends first the request
// stays under way, so that a peer which never answers is found out even by
// callers who do not wait, and one that answers late is not taken for silent.
func (r *rpc) call(ctx context.Context, m wire.Message) (wire.Message, time.Duration, error) {
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
			r.watch = time.AfterFunc(min(r.limit, doubtAfter), r.overdue)
		} else {
			r.watch.Reset(min(r.limit, doubtAfter))
		}
	}
	r.mu.Unlock()

	if err := r.out.send(wire.Frame{ID: id, Body: m}); err != nil {
		r.finish(id, result{err: err})
	}
	select {
	case res := <-c.reply:
		took := time.Since(c.sent)
		r.spare.Store(c) // answered, and heard: nobody else knows of it
		return res.msg, took, res.err
	case <-ctx.Done():
		r.mu.Lock()
		c.left = m
		r.mu.Unlock()
		return nil, 0, context.Cause(ctx)
	}
}

// finish ends a request with its result, if there still is such a request.
func (r *rpc) finish(id uint64, res result) {
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
		r.over.late(left, time.Since(c.sent))
	}
}

// overdue fails the requests that have gone unanswered for too long, and says
// so when the peer was silent all that time.
func (r *rpc) overdue() {
	now := time.Now()
	limit, err := r.limit, errTimeout
	unanswered := r.asked(now)
	stuck := unanswered >= stuckAfter && r.over.stuck(unanswered)
	if stuck {
		limit, err = min(r.limit, doubtAfter), errStuck
	}
	silent := false
	var late []*call
	r.mu.Lock()
	next := min(r.limit, stuckAfter)
	if left := stuckAfter - now.Sub(r.pinged); r.ping != 0 && left > 0 {
		next = min(next, left)
	}
	for id, c := range r.pending {
		age := now.Sub(c.sent)
		if age < limit {
			next = min(next, r.limit-age)
			if age < doubtAfter {
				next = min(next, doubtAfter-age)
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
		r.over.silent()
	}
}

// asked returns for how long the PING has gone unanswered that tells whether the
// stream is stuck. If none is under way, and a request has been for long, it sends
// one: whoever takes long to answer that request answers this at once.
func (r *rpc) asked(now time.Time) time.Duration {
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
	if waited < doubtAfter || waited >= r.limit || !r.over.doubts() {
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

// read returns the next frame and notes that the peer is alive.
func (r *rpc) read() (wire.Frame, error) {
	f, err := r.in.ReadFrame()
	if f.Body != nil {
		r.heard.Store(int64(time.Since(r.began)))
	}
	return f, err
}

// run reads frames until the stream ends: replies go to their requests, and
// everything else to serve, in order. A frame that breaks a rule does not affect
// those after it: serve answers a request (err says why), a reply fails its
// request. It ends, too, when nothing can be sent any more.
func (r *rpc) run(serve func(f wire.Frame, err *wire.InvalidError) error) error {
	held := false
	for {
		f, err := r.read()
		invalid, ok := errors.AsType[*wire.InvalidError](err)
		if err != nil && !ok {
			return cmp.Or(r.out.failure(), err)
		}
		more := r.in.More()
		if more && !held {
			held = true
			r.out.hold()
		}
		if err := r.handle(f, invalid, serve); err != nil {
			return err
		}
		if held && !more {
			held = false
			if err := r.out.release(); err != nil {
				return err
			}
		}
	}
}

// handle deals with one frame.
func (r *rpc) handle(f wire.Frame, invalid *wire.InvalidError, serve func(wire.Frame, *wire.InvalidError) error) error {
	switch f.Body.(type) {
	case wire.Pong, wire.Nodes, wire.Value, wire.Stored, wire.Providers, wire.Wanted, wire.Dialled, wire.Error, wire.Reserved, wire.Called:
		r.finish(f.ID, result{msg: f.Body}) // a reply that comes too late is nothing wrong
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

// end fails every request under way and all later ones.
func (r *rpc) end(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = errLinkClosed
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
