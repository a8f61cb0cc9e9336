package bench

import (
	"context"
	"sync"
	"time"
)

// Churn measures gets at the moment when 30 % of the nodes have died silently.
type Churn struct {
	Shape
	Killed int     `json:"killed"`
	GetOK  float64 `json:"get_ok"`
	GetP50 float64 `json:"get_p50_ms"`
	GetP99 float64 `json:"get_p99_ms"`
	GetMax float64 `json:"get_max_ms"`
	RPCs   float64 `json:"rpcs_per_get"`
}

func runChurn(ctx context.Context, j *job) (any, error) {
	if err := j.checkValue(); err != nil {
		return nil, err
	}
	net, _, err := boot(ctx, j)
	if err != nil {
		return nil, err
	}
	defer net.close()
	values := j.values(j.rand(1))
	if _, _, err := net.putAll(ctx, j, values); err != nil {
		return nil, err
	}

	report := &Churn{Shape: j.shape("w6"), Killed: min(j.N*3/10, j.N-1)}
	order := j.rand(6).Perm(j.N)
	dead, alive := order[:report.Killed], order[report.Killed:]
	for i := range values {
		values[i].getter = alive[values[i].getter%len(alive)]
	}
	j.say("%d of %d nodes die", report.Killed, j.N)
	var wg sync.WaitGroup
	for _, i := range dead {
		wg.Go(func() { net.nodes[i].Kill() })
	}
	wg.Wait()

	gets, ok, err := net.getAll(ctx, j, values)
	if err != nil {
		return nil, err
	}
	report.GetOK, report.RPCs = ok, gets.rpcs
	report.GetP50 = gets.took.quantile(0.5, time.Millisecond)
	report.GetP99 = gets.took.quantile(0.99, time.Millisecond)
	report.GetMax = gets.took.quantile(1, time.Millisecond)
	return report, nil
}
