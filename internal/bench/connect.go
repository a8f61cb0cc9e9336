package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Connect is the cost of a fresh connection and one exchange on it, both ends.
type Connect struct {
	ConnectsPerSecond float64 `json:"connects_per_s"`
	ConnectP50        float64 `json:"connect_p50_ms"`
	ConnectCPU        float64 `json:"cpu_ms_per_connect"`
}

func connect(m int, cost spent, took latencies) Connect {
	return Connect{
		ConnectsPerSecond: cost.perSecond(m),
		ConnectP50:        took.quantile(0.5, time.Millisecond),
		ConnectCPU:        cost.per(m, time.Millisecond),
	}
}

// Connects is the cost of fresh connections between two nodes, each with the
// HELLO both ways and one ping.
type Connects struct {
	Shape
	Connect
	Floor    float64 `json:"x_floor"` // of CPU time
	FloorCPU float64 `json:"floor_cpu_ms_per_connect"`
}

func runConnects(ctx context.Context, j *job) (any, error) {
	raw, err := newPair(answer)
	if err != nil {
		return nil, err
	}
	defer raw.close()
	a, b, err := twoNodes(ctx)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	defer b.Close()
	addrs := b.Addrs()
	if len(addrs) == 0 {
		return nil, fmt.Errorf("node %s has no address", b.ID())
	}
	ours := func(ctx context.Context, _, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if _, err := a.Connect(ctx, addrs[0]); err != nil {
			return err
		}
		_, err := a.Ping(ctx, b.ID())
		a.ClosePeer(b.ID())
		return err
	}
	j.say("%d connections between two nodes, and as many bare ones", j.M)
	o, f, err := abreast(ctx, j.M, 1, ours, raw.connect())
	if err != nil {
		return nil, err
	}
	return &Connects{
		Shape:    j.shape("w5"),
		Connect:  connect(o.n, o.spent, o.took),
		FloorCPU: f.cpu(time.Millisecond),
		Floor:    ratio(o.cpu(time.Millisecond), f.cpu(time.Millisecond)),
	}, nil
}

// connect makes a fresh connection, one exchange on it, and closes it.
func (p *pair) connect() operation {
	scratch := newScratch(1, replySize)[0]
	return func(ctx context.Context, _, _ int) error {
		conn, err := p.dial(ctx)
		if err != nil {
			return err
		}
		err = callFresh(ctx, conn, replySize, scratch)
		return errors.Join(err, conn.CloseWithError(0, ""))
	}
}
