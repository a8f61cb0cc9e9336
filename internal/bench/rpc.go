package bench

import (
	"context"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// rpcNodes is how many nodes the workload rpc needs for a reply to name 20
// contacts.
const rpcNodes = 24

// RPC is the cost of one FIND_NODE on one connection between two nodes, beside an exchange of
// the same size on one bare stream.
type RPC struct {
	Shape
	RPC []RPCEcho `json:"rpc"`
}

// RPCEcho is an [Echo] between nodes.
type RPCEcho struct {
	Echo
	Floor    float64 `json:"x_floor"` // of CPU time
	FloorCPU float64 `json:"floor_cpu_us_per_rpc"`
}

func runRPC(ctx context.Context, j *job) (any, error) {
	report := &RPC{Shape: j.shape("rpc")}
	few := *j
	few.N = rpcNodes
	net, _, err := boot(ctx, &few)
	if err != nil {
		return nil, err
	}
	defer net.close()
	raw, err := newPair(answer)
	if err != nil {
		return nil, err
	}
	defer raw.close()

	m := 10 * j.M
	choose := j.rand(8)
	targets := make([]routing.Key, m)
	for i := range targets {
		targets[i] = randomKey(choose)
	}
	asker, asked := net.nodes[1], net.nodes[0].ID()
	ours := func(ctx context.Context, _, i int) error {
		_, err := asker.FindNodeAt(ctx, asked, targets[i])
		return err
	}
	for _, c := range []int{1, j.C} {
		j.say("%d FIND_NODE on one connection, %d in flight, and as many bare exchanges", m, c)
		conn, err := raw.dial(ctx)
		if err != nil {
			return nil, err
		}
		mux, err := newMux(ctx, conn, newSlots(c), replySize)
		if err != nil {
			return nil, err
		}
		o, f, err := abreast(ctx, m, c, ours, func(ctx context.Context, worker, _ int) error {
			return mux.call(ctx, worker)
		})
		conn.CloseWithError(0, "")
		if err != nil {
			return nil, err
		}
		floor := f.cpu(time.Microsecond)
		report.RPC = append(report.RPC, RPCEcho{
			Echo:     echo(c, o.n, o.spent, o.took),
			FloorCPU: floor,
			Floor:    ratio(o.cpu(time.Microsecond), floor),
		})
	}
	return report, nil
}
