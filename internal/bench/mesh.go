package bench

import (
	"context"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// Sizes of the mesh, which has the connections of a network of 100 nodes.
const (
	meshPeers    = 100
	meshDials    = 15 // connections that each peer dials
	meshInFlight = 24 // exchanges: 8 operations of α = 3 requests
)

// Mesh is the cost of one exchange, 40 bytes there and 1.2 kB back, where
// every one is on another connection than the last: the floor of a DHT.
type Mesh struct {
	Shape
	Peers       int     `json:"peers"`
	Connections int     `json:"connections"`
	InFlight    int     `json:"in_flight"`
	CPU         float64 `json:"cpu_us_per_rpc"`
	RTT         float64 `json:"rtt_us_p50"`

	// The same with every peer connected to every other, as w1 and w2 leave a
	// network of 100: more connections than the caches hold.
	FullConnections int     `json:"full_connections"`
	FullCPU         float64 `json:"full_cpu_us_per_rpc"`
	FullRTT         float64 `json:"full_rtt_us_p50"`
}

func runMesh(ctx context.Context, j *job) (any, error) {
	report := &Mesh{Shape: j.shape("floor-mesh")}
	if err := report.measure(ctx, j, meshDials, 50*j.M); err != nil {
		return nil, err
	}
	var full Mesh
	if err := full.measure(ctx, j, meshPeers/2, 50*j.M); err != nil {
		return nil, err
	}
	report.FullConnections, report.FullCPU, report.FullRTT = full.Connections, full.CPU, full.RTT
	return report, nil
}

// meshFloor measures a short mesh and returns the CPU microseconds of one
// exchange.
func meshFloor(ctx context.Context, j *job) (float64, error) {
	var report Mesh
	err := report.measure(ctx, j, meshDials, j.mesh)
	return report.CPU, err
}

// measure makes m exchanges, each on a random connection of a mesh in which each
// peer dials so many others.
func (r *Mesh) measure(ctx context.Context, j *job, dials, m int) error {
	r.Peers, r.InFlight = min(meshPeers, j.N), meshInFlight
	dials = min(dials, r.Peers-1)
	r.Connections = r.Peers * dials

	j.say("mesh: %d raw peers, %d connections", r.Peers, r.Connections)
	peers := make([]*rawPeer, 0, r.Peers)
	defer func() {
		for _, p := range peers {
			p.close()
		}
	}()
	for range r.Peers {
		p, err := newRawPeer(answer)
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	choose := j.rand(0)
	plan := make([][2]int, 0, r.Connections)
	for from := range peers {
		for _, to := range choose.Perm(r.Peers - 1)[:dials] {
			if to >= from {
				to++
			}
			plan = append(plan, [2]int{from, to})
		}
	}
	conns := make([]*quicgo.Conn, r.Connections)
	muxes := make([]*mux, r.Connections)
	slots := newSlots(meshInFlight)
	_, err := drive(ctx, r.Connections, min(j.C, meshInFlight), func(ctx context.Context, worker, i int) error {
		from, to := peers[plan[i][0]], peers[plan[i][1]]
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		conn, err := from.dial(ctx, to, from.towards(to))
		if err != nil {
			return err
		}
		if muxes[i], err = newMux(ctx, conn, slots, replySize); err != nil {
			return err
		}
		conns[i] = conn
		return muxes[i].call(ctx, worker)
	})
	if err != nil {
		return err
	}

	j.say("mesh: %d exchanges, %d in flight", m, meshInFlight)
	order := make([]int, m)
	for i := range order {
		order[i] = choose.IntN(r.Connections)
	}
	cost, took, err := measured(ctx, m, meshInFlight, func(ctx context.Context, worker, i int) error {
		return muxes[order[i%m]].call(ctx, worker)
	})
	if err != nil {
		return err
	}
	r.CPU = cost.per(m, time.Microsecond)
	r.RTT = took.quantile(0.5, time.Microsecond)
	for _, c := range conns {
		c.CloseWithError(0, "")
	}
	return nil
}
