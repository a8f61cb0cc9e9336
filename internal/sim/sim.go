// Package sim simulates a network of Kademlia nodes under churn by the thousand,
// for a day and more: routing's tables and lookups and internal/store's records,
// as package node puts them together, without sockets, goroutines or waiting. It
// is where the rules by which records outlive their holders were found, and where
// a change to them is measured before it is made.
//
//	w := sim.New(sim.Options{Nodes: 1000, Session: 10 * time.Minute, Records: 10_000})
//	w.Run(24 * time.Hour)
//	fmt.Println(w.Report())
//
// # What is simulated
//
// Nodes come and go. A session lasts an exponentially distributed time; at its end
// the node is gone without a word, its records with it, and another one with
// another key joins through a random living one. A request takes 50 to 150 ms
// there and back. One to a dead node fails after 5 s; a lookup turns to another
// after 300 ms. A node learns of another's death only by a request to it.
//
// Everything else is the product's own code: [routing.Table], [routing.Lookup],
// [store.Memory], [store.RepublishAt]. What package node adds to it is written
// here again in its simplest form; [Rules] turn its parts on and off.
//
// # What is not
//
// Loss, congestion, NATs, liars, connections and their handshakes, clients,
// limits per subnet and per source. Publishers do not renew their records, and a
// get leaves no cached copy and repairs nothing: what holders do must be enough.
package sim

import (
	"math/rand/v2"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// Options say what to simulate.
type Options struct {
	Seed  uint64 // the same seed, the same day
	Nodes int    // alive at any time, once all have joined

	// Session is the mean life of a node. If zero, no node leaves.
	Session time.Duration

	// Records are put by random nodes within ten minutes, after nodes have come and
	// gone for so long (if zero, half an hour). Each has a value of Size bytes (if
	// zero, 512) and lives 24 hours from when all are put.
	Records int
	Put     time.Duration
	Size    int

	// Gets is how many random records random nodes get in an hour.
	Gets int

	Rules Rules
}

// How long things take.
const (
	minRTT, maxRTT = 50 * time.Millisecond, 150 * time.Millisecond
	soft           = 300 * time.Millisecond // a lookup turns to another
	grace          = 5 * time.Second        // a request to the dead fails
	arrival        = 10 * time.Minute       // over which the first nodes come, and records are put
	tick           = time.Minute            // how often a node looks after itself
)

// A World is a simulated network. One goroutine uses it.
type World struct {
	o     Options
	rules Rules
	start time.Time
	at    time.Duration // since start
	queue queue
	src   rand.Source
	rnd   *rand.Rand

	nodes  []*node // ever; nil when dead
	alive  []int32 // the live nodes, in no order
	ledger ledger
	report Report
	room   []contact // scratch
}

// contact is what tables keep: a key, and the number of the node.
type contact = routing.Contact[int32]

// New returns a world at its beginning: nodes join over the first ten minutes.
func New(o Options) *World {
	defaultTo(&o.Size, 512)
	defaultTo(&o.Put, 30*time.Minute)
	src := rand.NewPCG(o.Seed, 1)
	w := &World{
		o: o, rules: o.Rules.withDefaults(),
		start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		src:   src, rnd: rand.New(src),
	}
	for i := range o.Nodes {
		w.after(arrival*time.Duration(i)/time.Duration(o.Nodes), w.arrive)
	}
	w.ledger = newLedger(w)
	for i := range w.ledger.records {
		w.after(o.Put+w.upTo(arrival), func() { w.put(&w.ledger.records[i]) })
	}
	w.after(o.Put+arrival, w.begin)
	return w
}

// begin starts the counts, after all records are put.
func (w *World) begin() {
	w.report = Report{Lost: w.report.Lost}
	w.after(sampleEvery, w.sampleOften)
	if w.o.Gets > 0 && w.o.Records > 0 {
		w.after(time.Minute, w.getOften)
	}
}

// Run lets time pass until so long after all records were put, at most 24 hours:
// then they end.
func (w *World) Run(d time.Duration) {
	until := w.o.Put + arrival + d
	for len(w.queue.events) > 0 && w.queue.events[0].at <= until {
		e := w.queue.pop()
		w.at = e.at
		e.do()
	}
	w.at = until
}

// Report returns what was counted so far.
func (w *World) Report() Report {
	r := w.report
	r.Nodes, r.Records = w.o.Nodes, w.o.Records
	r.Passed = w.at - w.o.Put - arrival
	return r
}

func (w *World) now() time.Time { return w.start.Add(w.at) }

// after lets something happen later.
func (w *World) after(d time.Duration, do func()) { w.queue.push(w.at+d, do) }

// upTo draws a duration below d.
func (w *World) upTo(d time.Duration) time.Duration { return time.Duration(w.rnd.Int64N(int64(d))) }

// anyone returns a random living node, nil if there is none.
func (w *World) anyone() *node {
	if len(w.alive) == 0 {
		return nil
	}
	return w.nodes[w.alive[w.rnd.IntN(len(w.alive))]]
}
