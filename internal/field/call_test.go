package field

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/kadquic/kadquic/wire"
)

const echoProtocol = "/field/echo/1"

func echo(c net.Conn) {
	defer c.Close()
	io.Copy(c, c)
}

// A call is the result of a call. Times count from its beginning.
type call struct {
	Connected time.Duration // Dial has returned, and the first byte is written
	Answered  time.Duration // the first byte has come back
	First     string        // the path when it was connected
	Direct    time.Duration // the path uses no relay; zero if never
	Path      string        // the path at the end
	Called    time.Duration // of Connected: from the call through the relay to the connection; zero if none was made
	Pinged    time.Duration // a ping that began at the same time is answered: the wait of a user of "kad ping PEERID"
}

// call opens a stream to a peer, and waits up to For for a path without a relay. It closes
// the stream, not the connection.
func (p *program) call(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	pinged := make(chan error, 1)
	var ping time.Duration
	go func() {
		_, err := p.node.Ping(ctx, id)
		ping = time.Since(start)
		pinged <- err
	}()
	c, err := p.node.Dial(ctx, id, echoProtocol)
	if err != nil {
		return nil, fmt.Errorf("after %v: %w", ms(time.Since(start)), err)
	}
	defer c.Close()
	c.SetDeadline(start.Add(patience))
	b := []byte{'k'}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	got := call{Connected: time.Since(start), First: pathOf(c)}
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, fmt.Errorf("no echo, path %s: %w", pathOf(c), err)
	}
	got.Answered = time.Since(start)
	if err := <-pinged; err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	got.Pinged, got.Called = ping, p.paths.calledSince(o.Peer, start)
	deadline := time.After(time.Until(start.Add(o.For)))
	for {
		last, changed := p.paths.of(o.Peer)
		if got.Path = pathOf(c); straight(got.Path) {
			got.Direct = got.Connected
			if last.At.After(start) && straight(last.Path) {
				got.Direct = max(got.Direct, last.At.Sub(start))
			}
			return got, nil
		}
		select {
		case <-changed:
		case <-deadline:
			return got, nil
		}
	}
}
