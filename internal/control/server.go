package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"
)

// Bounds of the server.
const (
	maxRequest = 64 << 10        // bytes of one request; a value of 8 KiB in base64 is 11
	maxCalls   = 64              // under way at once
	stall      = 5 * time.Minute // disconnects a caller that has read (or written) nothing for so long
	drain      = 2 * time.Second // bounds the wait for running calls when the server ends
)

// Serve answers requests on l from api until ctx ends. Then it closes l, gives
// what is under way up to 2 seconds, cuts the rest, and returns nil; any other
// error is l's. A log of nil is silent.
func Serve(ctx context.Context, l net.Listener, api API, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &handler{mux: mux(api), slots: make(chan struct{}, maxCalls)}
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		s.Close()
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	cutting := time.AfterFunc(drain*3/4, cut)
	defer cutting.Stop()
	if s.Shutdown(grace) != nil {
		s.Close()
	}
	<-ended
	return nil
}

// mux says which path asks for what.
func mux(api API) *http.ServeMux {
	m := http.NewServeMux()
	m.Handle("POST /v1/status", call(func(ctx context.Context, _ struct{}) (Status, error) { return api.Status(ctx) }))
	m.Handle("POST /v1/netcheck", call(func(ctx context.Context, _ struct{}) (Netcheck, error) { return api.Netcheck(ctx) }))
	m.Handle("POST /v1/put", call(api.Put))
	m.Handle("POST /v1/get", call(api.Get))
	m.Handle("POST /v1/values", stream(api.Values))
	m.Handle("POST /v1/provide", call(api.Provide))
	m.Handle("POST /v1/providers", stream(api.Providers))
	m.Handle("POST /v1/published", stream(func(ctx context.Context, _ struct{}) iter.Seq2[Publication, error] { return api.Published(ctx) }))
	m.Handle("POST /v1/unpublish", call(api.Unpublish))
	m.Handle("POST /v1/records", stream(func(ctx context.Context, _ struct{}) iter.Seq2[Record, error] { return api.Records(ctx) }))
	m.Handle("POST /v1/durability", call(api.Durability))
	m.Handle("POST /v1/backup", download(api.Backup))
	m.Handle("POST /v1/restore", upload(api.Restore))
	m.Handle("POST /v1/lookup", stream(api.Lookup))
	m.Handle("POST /v1/ping", call(api.Ping))
	return m
}

// A handler is the server's front: it bounds how much is done at once.
type handler struct {
	mux   *http.ServeMux
	slots chan struct{}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		refuse(w, &Error{Message: fmt.Sprintf("the daemon answers %d commands already: try again later", maxCalls), Codes: []string{"busy"}})
		return
	}
	if _, pattern := h.mux.Handler(r); pattern == "" {
		refuse(w, &Error{Message: fmt.Sprintf("the daemon knows no %s %q: it may be of another version; restart it", r.Method, r.URL.Path)})
		return
	}
	h.mux.ServeHTTP(w, r)
}

// call serves a request that has one answer.
func call[In, Out any](f func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := read[In](w, r)
		if err != nil {
			refuse(w, errorOf(err))
			return
		}
		ctx, cancel := limit(r)
		defer cancel()
		out, err := f(ctx, in)
		if err != nil {
			e := failure(ctx, err)
			if !reflect.ValueOf(out).IsZero() {
				e.Item, _ = json.Marshal(out) // what cannot be told beside the error is not
			}
			refuse(w, e)
			return
		}
		answer(w, http.StatusOK, out)
	})
}

// timeHeader says how many milliseconds a caller allows.
const timeHeader = "Kad-Time"

// limit gives a request the time that its caller allows.
func limit(r *http.Request) (context.Context, context.CancelFunc) {
	ms, err := strconv.ParseInt(r.Header.Get(timeHeader), 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return context.WithCancel(r.Context())
	}
	return context.WithTimeout(r.Context(), time.Duration(ms)*time.Millisecond)
}

// failure is the error of a request whose context was ctx.
func failure(ctx context.Context, err error) *Error {
	e := errorOf(err)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Codes = append([]string{codeTimeOver}, e.Codes...)
	}
	return e
}

// stream serves a request whose answer is a sequence.
func stream[In, Out any](f func(context.Context, In) iter.Seq2[Out, error]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := read[In](w, r)
		if err != nil {
			refuse(w, errorOf(err))
			return
		}
		lines := newLines(w)
		defer lines.end()
		ctx, cancel := limit(r)
		defer cancel()
		for item, err := range f(ctx, in) {
			if err != nil {
				lines.write(failure(ctx, err))
				return
			}
			if !lines.write(line[Out]{Item: &item}) {
				return // the caller is gone
			}
		}
		lines.write(line[Out]{End: true})
	})
}

// A line of a stream: one thing of it, or its end, or the error that ended it.
type line[T any] struct {
	Item    *T       `json:"item,omitempty"`
	End     bool     `json:"end,omitempty"`
	Message string   `json:"error,omitempty"`
	Codes   []string `json:"codes,omitempty"`
}

// lines sends lines at once, but bursts together: a line within flushEvery of the last
// flush is sent with the next line, or at the end of flushEvery.
type lines struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	b  bytes.Buffer

	mu    sync.Mutex // guards all of it
	timer *time.Timer
	err   error
}

const (
	flushEvery = 20 * time.Millisecond
	flushAt    = 16 << 10
)

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{w: w, rc: http.NewResponseController(w)}
}

// write adds v, and reports whether the reader is still connected.
func (l *lines) write(v any) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = json.NewEncoder(&l.b).Encode(v)
	}
	if l.b.Len() >= flushAt {
		l.send()
	} else if l.timer == nil && l.err == nil {
		l.timer = time.AfterFunc(flushEvery, l.late)
	}
	return l.err == nil
}

// end sends what there is; nothing is written after it.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send()
	l.err = errEnded
}

var errEnded = errors.New("the stream has ended")

func (l *lines) late() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send()
}

func (l *lines) send() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.err != nil || l.b.Len() == 0 {
		return
	}
	l.rc.SetWriteDeadline(time.Now().Add(stall))
	if _, l.err = l.w.Write(l.b.Bytes()); l.err == nil {
		l.err = l.rc.Flush()
	}
	l.b.Reset()
}

// read reads the request, all of it: only then does the server see when the
// caller goes away.
func read[In any](w http.ResponseWriter, r *http.Request) (in In, err error) {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(10 * time.Second))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	rc.SetReadDeadline(time.Time{})
	if err != nil {
		return in, badRequest("%w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields() // what an older daemon does not know it must not leave out
	if err := d.Decode(&in); err != nil {
		return in, badRequest("%w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return in, badRequest("more than one object")
	}
	return in, nil
}

func refuse(w http.ResponseWriter, e *Error) { answer(w, e.status(), e) }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // fails if the client has gone
}
