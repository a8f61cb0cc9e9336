package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/kadquic/kadquic/node"
)

const tripSize = 64 // bytes each way

// Streams is the cost of application streams on one connection between two nodes, beside
// bare ones.
type Streams struct {
	Shape
	Bulk
	RTT      float64 `json:"rtt_us_p50"`       // on an open stream
	RTTFresh float64 `json:"rtt_us_p50_fresh"` // on a new stream each

	Floor         float64 `json:"x_floor"` // of throughput: here more is better
	FloorCPU      float64 `json:"x_floor_cpu"`
	FloorRTT      float64 `json:"x_floor_rtt"`
	FloorRTTFresh float64 `json:"x_floor_rtt_fresh"`
}

func runStreams(ctx context.Context, j *job) (any, error) {
	a, b, err := twoNodes(ctx)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	defer b.Close()
	if _, err := a.Connect(ctx, b.Addrs()[0]); err != nil {
		return nil, err
	}
	report := &Streams{Shape: j.shape("w4")}
	if err := report.bulk(ctx, j, a, b); err != nil {
		return nil, err
	}
	return report, report.trips(ctx, j, a, b)
}

// twoNodes starts two nodes that do not know each other.
func twoNodes(ctx context.Context) (a, b *node.Node, err error) {
	if a, err = startNode(ctx); err != nil {
		return nil, nil, err
	}
	if b, err = startNode(ctx); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// bulk measures one stream between nodes and one bare stream, a quarter of the bytes on each in
// turn.
func (r *Streams) bulk(ctx context.Context, j *job, a, b *node.Node) error {
	const protocol, parts = "/bench/drain/1.0.0", 4
	part := j.bulk / parts
	ln, err := serveApp(b, protocol, drain(part))
	if err != nil {
		return err
	}
	defer ln.Close()
	raw, err := newPair(drain(part))
	if err != nil {
		return err
	}
	defer raw.close()

	ours, err := a.Dial(ctx, b.ID(), protocol)
	if err != nil {
		return err
	}
	defer ours.Close()
	bare, err := raw.open(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		ours.SetDeadline(time.Now())
		bare.SetDeadline(time.Now())
	})
	defer stop()

	j.say("%d MiB on one stream, and on a bare one", j.bulk>>20)
	var o, f spent
	for range parts {
		cost, err := pour(bare, part)
		f.add(cost)
		if err == nil {
			cost, err = pour(ours, part)
			o.add(cost)
		}
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
	floor := bulk(parts*part, f)
	r.Bulk = bulk(parts*part, o)
	r.Floor = ratio(r.Throughput, floor.Throughput)
	r.FloorCPU = ratio(r.BulkCPU, floor.BulkCPU)
	return nil
}

// trips measures round trips, one after another: on an open stream, then on a
// fresh stream each.
func (r *Streams) trips(ctx context.Context, j *job, a, b *node.Node) error {
	const protocol = "/bench/echo/1.0.0"
	ln, err := serveApp(b, protocol, echoTrips)
	if err != nil {
		return err
	}
	defer ln.Close()
	raw, err := newPair(echoTrips)
	if err != nil {
		return err
	}
	defer raw.close()
	conn, err := raw.dial(ctx)
	if err != nil {
		return err
	}
	ours := func(ctx context.Context) (net.Conn, error) { return a.Dial(ctx, b.ID(), protocol) }
	bare := func(ctx context.Context) (rawStream, error) {
		str, err := conn.OpenStreamSync(ctx)
		return rawStream{str}, err
	}

	j.say("%d round trips on one stream, and on a bare one", j.trips)
	ourStr, err := ours(ctx)
	if err != nil {
		return err
	}
	defer ourStr.Close()
	bareStr, err := bare(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		ourStr.SetDeadline(time.Now())
		bareStr.SetDeadline(time.Now())
	})
	defer stop()
	o, f, err := abreast(ctx, j.trips, 1, tripsOn(ourStr), tripsOn(bareStr))
	if err != nil {
		return err
	}
	r.RTT = o.p50(time.Microsecond)
	r.FloorRTT = ratio(r.RTT, f.p50(time.Microsecond))

	j.say("%d round trips on a stream each, and on bare ones", j.trips)
	if o, f, err = abreast(ctx, j.trips, 1, freshTrips(ours), freshTrips(bare)); err != nil {
		return err
	}
	r.RTTFresh = o.p50(time.Microsecond)
	r.FloorRTTFresh = ratio(r.RTTFresh, f.p50(time.Microsecond))
	return nil
}

// rawStream is a bare stream whose Close ends both directions, as net.Conn's
// does.
type rawStream struct{ *quicgo.Stream }

func (s rawStream) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}

// tripsOn makes round trips on a stream that is open.
func tripsOn(str io.ReadWriter) operation {
	buf := make([]byte, tripSize)
	return func(context.Context, int, int) error { return trip(str, buf) }
}

// freshTrips makes each round trip on a stream that it opens, and closes.
func freshTrips[S io.ReadWriteCloser](open func(context.Context) (S, error)) operation {
	buf := make([]byte, tripSize)
	return func(ctx context.Context, _, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		str, err := open(ctx)
		if err != nil {
			return err
		}
		err = trip(str, buf)
		return errors.Join(err, str.Close())
	}
}

func trip(str io.ReadWriter, buf []byte) error {
	if _, err := str.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(str, buf)
	return err
}

// echoTrips returns all bytes it receives until the stream ends.
func echoTrips(str io.ReadWriteCloser) {
	defer str.Close()
	buf := make([]byte, tripSize)
	for {
		if _, err := io.ReadFull(str, buf); err != nil {
			return
		}
		if _, err := str.Write(buf); err != nil {
			return
		}
	}
}

// serveApp serves a protocol of n's until the listener is closed.
func serveApp(n *node.Node, protocol string, h handler) (net.Listener, error) {
	ln, err := n.Listen(protocol)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			str, err := ln.Accept()
			if err != nil {
				return
			}
			go h(str)
		}
	}()
	return ln, nil
}
