package bench

import (
	"context"
	"errors"
	"io"
	"time"
)

// Echo is the cost of one exchange, 40 bytes there and 1.2 kB back.
type Echo struct {
	C   int     `json:"c"` // in flight
	CPU float64 `json:"cpu_us_per_rpc"`
	RTT float64 `json:"rtt_us_p50"`
}

// Floor is what the parts cost that everything else is built on: bare UDP, and
// bare quic-go with mutual Ed25519 TLS between two endpoints.
type Floor struct {
	Shape
	UDP    []Echo `json:"udp"`    // one datagram each way
	Stream []Echo `json:"stream"` // on one multiplexed stream
	Fresh  []Echo `json:"fresh"`  // on a stream of its own
	Connect
	Bulk
}

// Connect is the cost of a fresh connection and one exchange on it, both ends.
type Connect struct {
	ConnectsPerSecond float64 `json:"connects_per_s"`
	ConnectP50        float64 `json:"connect_p50_ms"`
	ConnectCPU        float64 `json:"cpu_ms_per_connect"`
}

// Bulk is the cost of one gibibyte one way on one stream.
type Bulk struct {
	Throughput float64 `json:"mb_per_s"` // of 10⁶ bytes
	BulkCPU    float64 `json:"cpu_s_per_gib"`
}

func runFloor(ctx context.Context, j *job) (any, error) {
	report := &Floor{Shape: j.shape("floor")}
	p, err := newPair()
	if err != nil {
		return nil, err
	}
	defer p.close()
	m, inFlight := 10*j.M, []int{1, j.C}

	for _, c := range inFlight {
		j.say("%d exchanges over UDP, %d in flight", m, c)
		cost, took, err := udpEcho(ctx, m, c)
		if err != nil {
			return nil, err
		}
		report.UDP = append(report.UDP, echo(c, m, cost, took))
	}
	for _, c := range inFlight {
		j.say("%d exchanges on one stream, %d in flight", m, c)
		cost, took, err := p.streamEcho(ctx, m, c, replySize)
		if err != nil {
			return nil, err
		}
		report.Stream = append(report.Stream, echo(c, m, cost, took))
	}
	for _, c := range inFlight {
		j.say("%d exchanges on a stream each, %d in flight", m, c)
		cost, took, err := p.freshEcho(ctx, m, c, replySize)
		if err != nil {
			return nil, err
		}
		report.Fresh = append(report.Fresh, echo(c, m, cost, took))
	}
	j.say("%d connections, one after another", j.M)
	cost, took, err := p.connects(ctx, j.M)
	if err != nil {
		return nil, err
	}
	report.Connect = connect(j.M, cost, took)
	j.say("%d MiB on one stream", j.bulk>>20)
	if cost, err = p.bulk(ctx, j.bulk); err != nil {
		return nil, err
	}
	report.Bulk = bulk(j.bulk, cost)
	return report, nil
}

func echo(c, m int, cost spent, took latencies) Echo {
	return Echo{C: c, CPU: cost.per(m, time.Microsecond), RTT: took.quantile(0.5, time.Microsecond)}
}

func connect(m int, cost spent, took latencies) Connect {
	return Connect{
		ConnectsPerSecond: cost.perSecond(m),
		ConnectP50:        took.quantile(0.5, time.Millisecond),
		ConnectCPU:        cost.per(m, time.Millisecond),
	}
}

func bulk(size int64, cost spent) Bulk {
	return Bulk{
		Throughput: ratio(float64(size)/1e6, cost.wall.Seconds()),
		BulkCPU:    ratio(cost.cpu.Seconds(), float64(size)/(1<<30)),
	}
}

// streamEcho makes m exchanges on one stream that c callers share.
func (p *pair) streamEcho(ctx context.Context, m, c, reply int) (spent, latencies, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return spent{}, nil, err
	}
	defer conn.CloseWithError(0, "")
	mux, err := newMux(ctx, conn, newSlots(c), reply)
	if err != nil {
		return spent{}, nil, err
	}
	return measured(ctx, m, c, func(ctx context.Context, worker, _ int) error {
		return mux.call(ctx, worker)
	})
}

// freshEcho makes m exchanges, each on a stream of its own, c in flight.
func (p *pair) freshEcho(ctx context.Context, m, c, reply int) (spent, latencies, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return spent{}, nil, err
	}
	defer conn.CloseWithError(0, "")
	scratch := newScratch(c, reply)
	return measured(ctx, m, c, func(ctx context.Context, worker, _ int) error {
		return callFresh(ctx, conn, reply, scratch[worker])
	})
}

func newScratch(c, reply int) [][]byte {
	scratch := make([][]byte, c)
	for i := range scratch {
		scratch[i] = make([]byte, max(reply, requestSize))
	}
	return scratch
}

// connects makes m fresh connections one after another, each with one
// exchange.
func (p *pair) connects(ctx context.Context, m int) (spent, latencies, error) {
	scratch := newScratch(1, replySize)[0]
	return measured(ctx, m, 1, func(ctx context.Context, _, _ int) error {
		conn, err := p.dial(ctx)
		if err != nil {
			return err
		}
		err = callFresh(ctx, conn, replySize, scratch)
		return errors.Join(err, conn.CloseWithError(0, ""))
	})
}

// bulk sends size bytes one way on one stream of a fresh connection.
func (p *pair) bulk(ctx context.Context, size int64) (spent, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return spent{}, err
	}
	defer conn.CloseWithError(0, "")
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return spent{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.CloseWithError(0, "") })
	defer stop()
	announce := appendRequest(nil, 0, 0)
	announce[bulkByte] = 1
	if _, err := str.Write(announce); err != nil {
		return spent{}, err
	}
	return pour(str, str.Close, size)
}

// pour writes size bytes to a stream, ends it with closeWrite and waits for
// the one byte that says they have all been read.
func pour(str io.ReadWriter, closeWrite func() error, size int64) (spent, error) {
	chunk := make([]byte, 128<<10)
	meter := start()
	for left := size; left > 0; {
		n, err := str.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return spent{}, err
		}
		left -= int64(n)
	}
	if err := closeWrite(); err != nil {
		return spent{}, err
	}
	_, err := io.ReadFull(str, chunk[:1])
	return meter.stop(), err
}
