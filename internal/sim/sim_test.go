package sim

import (
	"flag"
	"reflect"
	"testing"
	"time"
)

// The full measure, an hour of one core (add -v -timeout 0):
//
//	go test ./internal/sim -run Outlive -sim.nodes 1000 -sim.records 10000 -sim.time 24h
var (
	simNodes   = flag.Int("sim.nodes", 150, "nodes of the simulated network")
	simRecords = flag.Int("sim.records", 300, "records put")
	simTime    = flag.Duration("sim.time", 90*time.Minute, "how long after the put the simulation ends")
	simSession = flag.Duration("sim.session", 10*time.Minute, "mean session of a node")
	simRanks   = flag.Int("sim.ranks", 0, "how many of a key's holders hand it over")
	simSilence = flag.Duration("sim.silence", 0, "how long a neighbour may be silent before it is pinged")
	simEarly   = flag.Duration("sim.early", 0, "how long before its time a record is republished in company")
	simSeed    = flag.Uint64("sim.seed", 1, "which day")
)

// pass runs a world and tells how it goes, every hour.
func pass(t *testing.T, o Options, d time.Duration) Report {
	t.Helper()
	began := time.Now()
	w := New(o)
	for h := time.Hour; h < d; h += time.Hour {
		w.Run(h)
		if r := w.Report(); d > 4*time.Hour {
			t.Logf("%v: %d lost, %d of %d gets right, %.3f of the k nearest hold; %v", h, r.Lost, r.Found, r.Gets, r.Held.Value(), time.Since(began).Round(time.Second))
		}
	}
	w.Run(d)
	r := w.Report()
	t.Logf("%d nodes for %v each, %+v, in %v\n%v", o.Nodes, o.Session, o.Rules, time.Since(began).Round(time.Second), r)
	return r
}

// With nodes that stay for ten minutes, no record is lost in a day, and each
// get finds its record.
func TestRecordsOutliveTheirHolders(t *testing.T) {
	r := pass(t, Options{
		Seed: *simSeed, Nodes: *simNodes, Session: *simSession, Records: *simRecords, Gets: 10_000,
		Rules: Rules{Ranks: *simRanks, Silence: *simSilence, Early: *simEarly},
	}, *simTime)
	if r.Lost > 0 {
		t.Errorf("%d of %d records lost", r.Lost, r.Records)
	}
	if r.Right() < 0.999 {
		t.Errorf("%.4f of the gets right, want at least 0.999", r.Right())
	}
}

// The paper's rules alone lose records: the nearest holder has died unnoticed, or never
// got the record.
func TestPaperLosesRecords(t *testing.T) {
	r := pass(t, Options{Seed: 1, Nodes: 150, Session: 10 * time.Minute, Records: 150, Gets: 1000, Rules: Paper}, time.Hour)
	if r.Lost == 0 {
		t.Error("the paper's rules lose nothing: then ours are needless")
	}
	if r.Right() > 0.9 {
		t.Errorf("%.4f of the gets right by the paper's rules: then ours are needless", r.Right())
	}
}

// With hourly sessions and 200 records a node, it takes three requests an hour to
// republish a record on 20 nodes: nine go along in each. The more, the fewer.
func TestRepublishTraffic(t *testing.T) {
	r := pass(t, Options{Seed: 1, Nodes: 60, Session: time.Hour, Records: 600, Gets: 1000}, 2*time.Hour)
	if r.Lost > 0 || r.Right() < 0.999 {
		t.Errorf("%d lost, %.4f of the gets right", r.Lost, r.Right())
	}
	c := r.Costs[republishing]
	perRecord := 1 / r.Passed.Hours() / float64(r.Records)
	if requests := float64(c.Requests) * perRecord; requests > 3.5 {
		t.Errorf("%.2f requests to republish a record for an hour, want at most 3.5", requests)
	}
	// One holder offers it to 19, and silences them.
	if offered := float64(c.Offered) * perRecord; offered > 30 {
		t.Errorf("a record is offered %.1f times an hour, want at most 30", offered)
	}
}

// The census reports a loss when all holders of a record die at once.
func TestCensusMissesNoLoss(t *testing.T) {
	w := New(Options{Seed: 3, Nodes: 60, Records: 20})
	w.Run(30 * time.Minute)
	if r := w.Report(); r.Lost > 0 || r.Least < 20 {
		t.Fatalf("%d lost, %d copies, though nobody has left", r.Lost, r.Least)
	}
	r := &w.ledger.records[0]
	for _, n := range w.nodes {
		if n.holds(r) {
			n.leave()
		}
	}
	w.Run(41 * time.Minute)
	if !r.lost || w.Report().Lost == 0 {
		t.Error("nobody held the record, and it is not called lost")
	}
}

func TestSameSeedSameDay(t *testing.T) {
	day := func() Report {
		w := New(Options{Seed: 7, Nodes: 60, Session: 10 * time.Minute, Records: 50, Gets: 1000})
		w.Run(time.Hour)
		return w.Report()
	}
	if a, b := day(), day(); !reflect.DeepEqual(a, b) {
		t.Errorf("two days of one seed differ:\n%v\n%v", a, b)
	}
}

// A network that no node leaves keeps its records, with at most one republication per
// record and hour.
func TestQuietNetwork(t *testing.T) {
	r := pass(t, Options{Seed: 1, Nodes: 100, Records: 200, Gets: 500}, 2*time.Hour)
	if r.Lost > 0 || r.Found != r.Gets || r.Held.Value() < 0.999 {
		t.Errorf("%d lost, %d of %d gets right, on %.4f of the k nearest", r.Lost, r.Found, r.Gets, r.Held.Value())
	}
	if c := r.Costs[handingOver]; c.Sent > 0 {
		t.Errorf("%d records handed over and nobody came", c.Sent)
	}
}
