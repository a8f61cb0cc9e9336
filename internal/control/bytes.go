package control

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Databases travel as they are, in bytes. How a download ended stands in a
// trailer: nothing, when it is whole, or the error as JSON.

const (
	bytesType   = "application/octet-stream"
	endTrailer  = "Kad-End"
	maxDatabase = 16 << 30 // bytes of a database that is restored
)

// download serves a request whose answer is bytes.
func download(f func(context.Context, io.Writer) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := read[struct{}](w, r); err != nil {
			refuse(w, errorOf(err))
			return
		}
		to := &patientWriter{ctx: r.Context(), w: w, rc: http.NewResponseController(w)}
		w.Header().Set("Trailer", endTrailer)
		w.Header().Set("Content-Type", bytesType)
		err := f(r.Context(), to)
		switch {
		case err != nil && !to.wrote:
			w.Header().Del("Trailer")
			refuse(w, errorOf(err))
		case err != nil:
			text, _ := json.Marshal(errorOf(err)) // strings only
			w.Header().Set(endTrailer, string(text))
		default:
			w.Header().Set(endTrailer, "{}")
		}
	})
}

// A patientWriter writes to a caller for as long as that one reads anything.
type patientWriter struct {
	ctx   context.Context
	w     io.Writer
	rc    *http.ResponseController
	wrote bool
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	p.wrote = true
	p.rc.SetWriteDeadline(time.Now().Add(stall))
	return p.w.Write(b)
}

// upload serves a request that is bytes.
func upload[Out any](f func(context.Context, io.Reader) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		from := &patientReader{http.MaxBytesReader(w, r.Body, maxDatabase), rc}
		out, err := f(r.Context(), from)
		rc.SetReadDeadline(time.Time{})
		if err != nil {
			refuse(w, errorOf(err))
			return
		}
		answer(w, http.StatusOK, out)
	})
}

// A patientReader reads from a caller for as long as that one sends anything. At
// the end it waits no longer, and the server watches whether the caller goes.
type patientReader struct {
	r  io.Reader
	rc *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.rc.SetReadDeadline(time.Now().Add(stall))
	n, err := p.r.Read(b)
	if err == io.EOF {
		p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// download receives bytes.
func (c *Client) download(ctx context.Context, name string, to io.Writer) error {
	w, err := c.send(ctx, name, struct{}{})
	if err != nil {
		return err
	}
	defer w.Body.Close()
	var from failing
	from.r = w.Body
	if _, err := io.Copy(to, &from); err != nil {
		if from.failed() != nil {
			return cut(ctx, err)
		}
		return err // of the writer
	}
	end := w.Trailer.Get(endTrailer)
	var e Error
	switch {
	case end == "" || json.Unmarshal([]byte(end), &e) != nil:
		return ErrCut
	case e.Message != "":
		return &e
	}
	return nil
}

// A failing reader remembers that it was the one that failed. One goroutine may
// read, another ask.
type failing struct {
	r   io.Reader
	err atomic.Pointer[error] // other than io.EOF
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err != nil && err != io.EOF {
		f.err.Store(&err)
	}
	return n, err
}

func (f *failing) failed() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// send sends bytes.
func send[Out any](ctx context.Context, c *Client, name string, from io.Reader) (out Out, err error) {
	f := &failing{r: from}
	w, err := c.post(ctx, name, bytesType, io.NopCloser(f)) // not to be closed by the transport
	if failed := f.failed(); failed != nil {
		if err == nil {
			w.Body.Close()
		}
		return out, failed
	}
	if err != nil {
		return out, err
	}
	return answerOf[Out](ctx, w)
}
