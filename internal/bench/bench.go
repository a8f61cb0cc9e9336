// Package bench measures kadquic with a fixed set of workloads, and in the same process and
// run the cost of its foundations, raw UDP and raw QUIC.
//
// A workload is a name and a few sizes. [Run] does the work on 127.0.0.1 and
// returns one struct whose JSON form is the report. CPU figures are user plus
// system time of the whole process, both ends of every exchange included, so
// they compare across noisy machines; wall-clock figures compare only within
// one run.
//
// A figure called x_floor is a ratio: the cost of kadquic over the cost of the same work on the
// foundation alone. 1 is the optimum.
package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// Options sizes a workload. The zero value works.
type Options struct {
	N    int    // nodes. If zero, 100.
	M    int    // operations. If zero, 1000.
	C    int    // operations in flight. If zero, 8.
	V    int    // bytes of a value. If zero, 100.
	Seed uint64 // of every random choice. If zero, 1.

	bulk     int64 // bytes of a bulk transfer. If zero, 1 GiB.
	trips    int   // round trips of w4. If zero, 10,000.
	contacts int   // contacts of w3. If zero, 100,000; ten times as many queries.
	records  int   // on disk, of store. If zero, 100,000.
	mesh     int   // exchanges of the short mesh before w1 and w2. If zero, 20,000.
}

func (o Options) withDefaults() Options {
	set(&o.N, 100)
	set(&o.M, 1000)
	set(&o.C, 8)
	set(&o.V, 100)
	set(&o.Seed, 1)
	set(&o.bulk, 1<<30)
	set(&o.trips, 10_000)
	set(&o.contacts, 100_000)
	set(&o.mesh, 20_000)
	set(&o.records, 100_000)
	return o
}

func set[T int | int64 | uint64](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

func (o Options) validate() error {
	switch {
	case o.N < 2:
		return fmt.Errorf("bench: %d nodes, need at least 2", o.N)
	case o.M < 1:
		return fmt.Errorf("bench: %d operations, need at least 1", o.M)
	case o.C < 1:
		return fmt.Errorf("bench: %d in flight, need at least 1", o.C)
	case o.V < 1:
		return fmt.Errorf("bench: values of %d bytes, need at least 1", o.V)
	}
	return nil
}

// rand returns the random choices of one part of a workload. Parts do not
// disturb one another: each has its own number.
func (o Options) rand(part uint64) *rand.Rand {
	return rand.New(rand.NewPCG(o.Seed, part))
}

// job is one run of one workload.
type job struct {
	Options
	progress io.Writer
}

func (j *job) say(format string, args ...any) {
	fmt.Fprintf(j.progress, format+"\n", args...)
}

// Shape heads every report: the workload and its sizes.
type Shape struct {
	Workload string `json:"workload"`
	N        int    `json:"n"`
	M        int    `json:"m"`
	C        int    `json:"c"`
	V        int    `json:"v"`
	Seed     uint64 `json:"seed"`
}

func (j *job) shape(name string) Shape {
	return Shape{Workload: name, N: j.N, M: j.M, C: j.C, V: j.V, Seed: j.Seed}
}

var workloads = []struct {
	name string
	run  func(context.Context, *job) (any, error)
}{
	{"floor", runFloor},
	{"floor-mesh", runMesh},
	{"rpc", runRPC},
	{"w1", runKV},
	{"w2", runLookups},
	{"w3", runTable},
	{"w4", runStreams},
	{"w5", runConnects},
	{"w6", runChurn},
	{"store", runStore},
}

// Names lists the workloads in their order.
func Names() []string {
	names := make([]string, len(workloads))
	for i, w := range workloads {
		names[i] = w.name
	}
	return names
}

// Run runs the workload of that name and returns its report, a pointer to a
// struct with JSON tags. It writes a line for each step to progress, which may
// be nil. When ctx ends, Run closes everything it opened and returns an error
// that wraps the context's. Only one Run at a time makes sense: it measures
// the whole process.
func Run(ctx context.Context, name string, o Options, progress io.Writer) (any, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = io.Discard
	}
	for _, w := range workloads {
		if w.name != name {
			continue
		}
		report, err := w.run(ctx, &job{Options: o, progress: progress})
		if err != nil {
			return nil, fmt.Errorf("bench %s: %w", name, err)
		}
		return report, nil
	}
	return nil, fmt.Errorf("bench: no workload %q (have %s)", name, strings.Join(Names(), ", "))
}
