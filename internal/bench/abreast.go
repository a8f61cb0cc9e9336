package bench

import (
	"context"
	"time"
)

// turns is how often kadquic and the floor take turns.
const turns = 10

// sample is the cost of some operations.
type sample struct {
	spent
	n    int
	took latencies
}

func (s sample) cpu(unit time.Duration) float64 { return s.per(s.n, unit) }
func (s sample) p50(unit time.Duration) float64 { return s.took.quantile(0.5, unit) }

// abreast does m operations of kadquic and m of the floor, c in flight, in turns, so that
// other load on the machine affects both equally.
func abreast(ctx context.Context, m, c int, ours, floor operation) (o, f sample, err error) {
	for _, op := range []operation{floor, ours} { // warm
		if _, err := drive(ctx, m/turns+c, c, op); err != nil {
			return o, f, err
		}
	}
	take := func(s *sample, op operation, n int) error {
		meter := start()
		took, err := drive(ctx, n, c, op)
		s.add(meter.stop())
		s.n += n
		s.took = append(s.took, took...)
		return err
	}
	for turn := range turns {
		n := m*(turn+1)/turns - m*turn/turns
		if n == 0 {
			continue
		}
		if err := take(&f, floor, n); err != nil {
			return o, f, err
		}
		if err := take(&o, ours, n); err != nil {
			return o, f, err
		}
	}
	return o, f, nil
}
