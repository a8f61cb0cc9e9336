package store

import (
	"fmt"
	"strings"
)

// A Report lists the content and the losses of a store's file. The zero value describes an empty
// store.
type Report struct {
	Records    int   // that live
	Remembered int   // sequence numbers of owned keys whose record ended
	Dormant    int   // records that seem to have ended: kept for an hour, the clock may be wrong
	States     int   // small named states, such as the peers known
	Bytes      int64 // of the file

	Damaged       int      // records dropped as damaged, on opening and since
	DamagedStates int      // the same of states
	Losses        []string // the first damaged items, in words
	Recovered     int      // records and states that a salvage wrote to the new file

	ReadOnly error // why the last write to the disk failed, nil if it succeeded
}

// maxLosses is how many losses a Report names.
const maxLosses = 32

func (r *Report) lost(format string, args ...any) {
	if len(r.Losses) < maxLosses {
		r.Losses = append(r.Losses, fmt.Sprintf(format, args...))
	}
}

// String is one line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records, %d sequence numbers, %d states in %d bytes", r.Records, r.Remembered, r.States, r.Bytes)
	if r.Dormant > 0 {
		fmt.Fprintf(&b, ", %d records that seem to have ended", r.Dormant)
	}
	if n := r.Damaged + r.DamagedStates; n > 0 {
		fmt.Fprintf(&b, ", %d lost to damage", n)
	}
	if r.ReadOnly != nil {
		fmt.Fprintf(&b, ", cannot write: %v", r.ReadOnly)
	}
	return b.String()
}
