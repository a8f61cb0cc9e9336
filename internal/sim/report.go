package sim

import (
	"fmt"
	"strings"
	"time"
)

const few = 5

// Report holds the results of a simulation since all records were put.
type Report struct {
	Passed         time.Duration
	Nodes, Records int

	// Lost counts the records of which, every ten minutes, no living node had a copy.
	Lost int
	// Gets, those that Found the record, and those that Missed it though it was
	// not known to be lost.
	Gets, Found, Missed int

	Costs [purposes]Cost

	// What was seen of records and nodes taken at random every ten minutes.

	Held    Mean // share of a record's k nearest living nodes that hold it
	Least   int  // the smallest number of them
	Few     int  // records that fewer than 5 of them hold
	Copies  Mean // of a record, anywhere
	Missing Mean // share of the k nearest that a table which covers a key lacks

	Neighbours Mean // contacts in the complete subtree
	Dead       Mean // share of these
}

// Right is the share of gets that found the record.
func (r *Report) Right() float64 { return float64(r.Found) / float64(max(r.Gets, 1)) }

// Mean is the mean of some numbers.
type Mean struct {
	Sum float64
	N   int
}

func (m *Mean) add(x float64) { m.Sum += x; m.N++ }

// Value returns the mean, 0 of no numbers.
func (m Mean) Value() float64 { return m.Sum / float64(max(m.N, 1)) }

// String returns the report as a few lines and a table.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d of %d records lost; %d of %d gets right (%.5f), %d missed what was not lost\n",
		r.Passed, r.Lost, r.Records, r.Found, r.Gets, r.Right(), r.Missed)
	fmt.Fprintf(&b, "records: on %.3f of the k nearest, on %d of them at least, on fewer than %d of them %d of %d; %.1f copies\n", r.Held.Value(), r.Least, few, r.Few, r.Held.N, r.Copies.Value())
	fmt.Fprintf(&b, "tables: %.1f neighbours, %.3f of them dead; %.3f of the k nearest missing where covered\n",
		r.Neighbours.Value(), r.Dead.Value(), r.Missing.Value())
	hours := r.Passed.Hours()
	perRecord, perNode := hours*float64(max(r.Records, 1)), hours*float64(max(r.Nodes, 1))
	fmt.Fprintf(&b, "%10s | %43s | %19s |\n", "", "a record and hour", "a node and hour")
	fmt.Fprintf(&b, "%10s | %10s %10s %10s %10s | %10s %8s | %s\n", "", "requests", "offered", "sent", "bytes", "requests", "kbytes", "to dead nodes")
	for p, c := range r.Costs {
		fmt.Fprintf(&b, "%10v | %10.3f %10.2f %10.3f %10.0f | %10.1f %8.1f | %.2f\n", purpose(p),
			float64(c.Requests)/perRecord, float64(c.Offered)/perRecord, float64(c.Sent)/perRecord, float64(c.Bytes)/perRecord,
			float64(c.Requests)/perNode, float64(c.Bytes)/perNode/1000, float64(c.Failed)/float64(max(c.Requests, 1)))
	}
	return b.String()
}
