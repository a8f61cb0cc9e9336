package bench

import (
	"context"
	"slices"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
)

// Lookups is the cost of finding the k nodes nearest to a key in a network of n nodes, and the
// share of them that it finds.
type Lookups struct {
	Shape
	MeshCPU float64 `json:"mesh_cpu_us_per_rpc"` // the floor of this run

	PerSecond float64 `json:"lookups_per_s"`
	P50       float64 `json:"lookup_p50_ms"`
	P99       float64 `json:"lookup_p99_ms"`
	PerCPU    float64 `json:"lookups_per_cpu_s"`
	Recall    float64 `json:"recall"` // share of the true k nearest of all n
	RPCs      float64 `json:"rpcs_per_lookup"`
	Floor     float64 `json:"x_floor"`
}

func runLookups(ctx context.Context, j *job) (any, error) {
	report := &Lookups{Shape: j.shape("w2")}
	var err error
	if report.MeshCPU, err = meshFloor(ctx, j); err != nil {
		return nil, err
	}
	net, _, err := boot(ctx, j)
	if err != nil {
		return nil, err
	}
	defer net.close()

	choose := j.rand(2)
	targets, askers := make([]routing.Key, j.M), make([]int, j.M)
	for i := range targets {
		targets[i], askers[i] = randomKey(choose), choose.IntN(j.N)
	}
	found := make([][]node.Contact, j.M)
	j.say("%d lookups, %d in flight", j.M, j.C)
	var count tally
	g, err := net.gauge(ctx, j, j.M, func(ctx context.Context, i int) {
		var err error
		found[i], err = net.nodes[askers[i]].Nearest(ctx, targets[i])
		count.note(err)
	})
	if err != nil {
		return nil, err
	}
	count.report(j, j.M)

	report.PerSecond, report.PerCPU = g.perSecond(j.M), g.perCPU(j.M)
	report.P50, report.P99 = g.took.quantile(0.5, time.Millisecond), g.took.quantile(0.99, time.Millisecond)
	report.RPCs, report.Floor = g.rpcs, g.overFloor(j.M, report.MeshCPU)
	report.Recall = net.recall(targets, found)
	return report, nil
}

// recall returns which share of the k nodes nearest to each target was found.
// The node that asked stands among them when it is near enough.
func (net *network) recall(targets []routing.Key, found [][]node.Contact) float64 {
	keys := make([]routing.Key, len(net.nodes))
	for i, n := range net.nodes {
		keys[i] = n.Key()
	}
	k := min(routing.DefaultK, len(keys))
	hits := 0
	for i, target := range targets {
		slices.SortFunc(keys, func(a, b routing.Key) int { return target.CompareDistance(a, b) })
		for _, c := range found[i] {
			if slices.Contains(keys[:k], c.Key()) {
				hits++
			}
		}
	}
	return float64(hits) / float64(k*len(targets))
}
