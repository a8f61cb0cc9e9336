package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// KV is the cost of storing and finding values in a network of n nodes.
type KV struct {
	Shape
	MeshCPU float64 `json:"mesh_cpu_us_per_rpc"` // the floor of this run

	Boot    float64 `json:"boot_s"`
	BootCPU float64 `json:"boot_cpu_s"` // of all nodes

	PutP50       float64 `json:"put_p50_ms"`
	PutP99       float64 `json:"put_p99_ms"`
	PutPerSecond float64 `json:"puts_per_s"`
	PutPerCPU    float64 `json:"put_per_cpu_s"`
	PutRPCs      float64 `json:"rpcs_per_put"`
	PutFloor     float64 `json:"x_floor_put"`
	PutOK        float64 `json:"put_ok"`

	GetP50       float64 `json:"get_p50_ms"`
	GetP99       float64 `json:"get_p99_ms"`
	GetPerSecond float64 `json:"gets_per_s"`
	GetPerCPU    float64 `json:"get_per_cpu_s"`
	GetRPCs      float64 `json:"rpcs_per_get"`
	GetFloor     float64 `json:"x_floor_get"`
	GetOK        float64 `json:"get_ok"`

	Replicas   float64 `json:"replicas"` // nodes that hold a value, before the gets
	RSS        float64 `json:"rss_mb_per_node"`
	Conns      float64 `json:"conns_per_node"`
	Goroutines float64 `json:"goroutines_per_node"`
}

func runKV(ctx context.Context, j *job) (any, error) {
	if err := j.checkValue(); err != nil {
		return nil, err
	}
	report := &KV{Shape: j.shape("w1")}
	var err error
	if report.MeshCPU, err = meshFloor(ctx, j); err != nil {
		return nil, err
	}
	net, cost, err := boot(ctx, j)
	if err != nil {
		return nil, err
	}
	defer net.close()
	report.Boot, report.BootCPU = round(cost.wall.Seconds()), round(cost.cpu.Seconds())

	values := j.values(j.rand(1))
	puts, ok, err := net.putAll(ctx, j, values)
	if err != nil {
		return nil, err
	}
	report.PutP50 = puts.took.quantile(0.5, time.Millisecond)
	report.PutP99 = puts.took.quantile(0.99, time.Millisecond)
	report.PutPerSecond, report.PutPerCPU = puts.perSecond(j.M), puts.perCPU(j.M)
	report.PutRPCs, report.PutFloor, report.PutOK = puts.rpcs, puts.overFloor(j.M, report.MeshCPU), ok
	report.Replicas = net.replicas(values)

	gets, ok, err := net.getAll(ctx, j, values)
	if err != nil {
		return nil, err
	}
	report.GetP50 = gets.took.quantile(0.5, time.Millisecond)
	report.GetP99 = gets.took.quantile(0.99, time.Millisecond)
	report.GetPerSecond, report.GetPerCPU = gets.perSecond(j.M), gets.perCPU(j.M)
	report.GetRPCs, report.GetFloor, report.GetOK = gets.rpcs, gets.overFloor(j.M, report.MeshCPU), ok

	n := float64(j.N)
	report.Goroutines = ratio(float64(runtime.NumGoroutine()), n)
	report.Conns = ratio(float64(net.totals().connections), n)
	report.RSS = ratio(residentBytes()/1e6, n)
	return report, nil
}

// putAll puts every value from its putter. ok is the share that was stored at
// all.
func (net *network) putAll(ctx context.Context, j *job, values []value) (g gauged, ok float64, err error) {
	j.say("%d puts of %d bytes, %d in flight", len(values), j.V, j.C)
	var count tally
	g, err = net.gauge(ctx, j, len(values), func(ctx context.Context, i int) {
		v := &values[i]
		_, err := net.nodes[v.putter].Put(ctx, v.key, v.data, nil)
		count.note(err)
	})
	return g, count.report(j, len(values)), err
}

// getAll gets every value from its getter. ok is the share of right answers.
func (net *network) getAll(ctx context.Context, j *job, values []value) (g gauged, ok float64, err error) {
	j.say("%d gets, %d in flight", len(values), j.C)
	var count tally
	g, err = net.gauge(ctx, j, len(values), func(ctx context.Context, i int) {
		v := &values[i]
		data, err := net.nodes[v.getter].Get(ctx, v.key, nil)
		if err == nil && !bytes.Equal(data.Data, v.data) {
			err = errors.New("wrong value")
		}
		count.note(err)
	})
	return g, count.report(j, len(values)), err
}

// replicas returns how many nodes hold a value, in the mean.
func (net *network) replicas(values []value) float64 {
	held := 0
	for i := range values {
		for _, n := range net.nodes {
			if n.HasRecord(wire.KindOpen, values[i].key) {
				held++
			}
		}
	}
	return float64(held) / float64(len(values))
}

// tally counts successes, and keeps the first error. The zero value
// works, and goroutines may share it.
type tally struct {
	ok    atomic.Int64
	once  sync.Once
	first error
}

func (t *tally) note(err error) {
	if err == nil {
		t.ok.Add(1)
		return
	}
	t.once.Do(func() { t.first = err })
}

// report returns the share of m that succeeded, and logs the others. No goroutine may call note
// meanwhile.
func (t *tally) report(j *job, m int) float64 {
	if t.first != nil {
		j.say("%s", fmt.Errorf("%d of %d failed, the first: %w", int64(m)-t.ok.Load(), m, t.first))
	}
	return float64(t.ok.Load()) / float64(m)
}
