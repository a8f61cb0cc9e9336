package bench

import (
	"context"
	"time"
)

// Echo is the cost of one exchange, 40 bytes there and 1.2 kB back.
type Echo struct {
	C   int     `json:"c"` // in flight
	CPU float64 `json:"cpu_us_per_rpc"`
	RTT float64 `json:"rtt_us_p50"`
}

// Floor is the cost of the foundations: bare UDP, and bare quic-go with mutual Ed25519 TLS
// between two endpoints.
type Floor struct {
	Shape
	UDP    []Echo `json:"udp"`    // one datagram each way
	Stream []Echo `json:"stream"` // on one multiplexed stream
	Fresh  []Echo `json:"fresh"`  // on a new stream each
	Connect
	Bulk
}

func runFloor(ctx context.Context, j *job) (any, error) {
	report := &Floor{Shape: j.shape("floor")}
	p, err := newPair(answer)
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
	cost, took, err := measured(ctx, j.M, 1, p.connect())
	if err != nil {
		return nil, err
	}
	report.Connect = connect(j.M, cost, took)
	j.say("%d MiB on one stream", j.bulk>>20)
	if cost, err = rawBulk(ctx, j.bulk); err != nil {
		return nil, err
	}
	report.Bulk = bulk(j.bulk, cost)
	return report, nil
}

func echo(c, m int, cost spent, took latencies) Echo {
	return Echo{C: c, CPU: cost.per(m, time.Microsecond), RTT: took.quantile(0.5, time.Microsecond)}
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

// freshEcho makes m exchanges, each on a new stream, c in flight.
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
