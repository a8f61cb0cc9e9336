package reach

import (
	"testing"
	"time"
)

// A node serves until it is known that nobody gets in, and while it is not known
// everywhere; one that does not know any more stays what it is for a while.
func TestDecision(t *testing.T) {
	var d Decision
	start := time.Unix(1e9, 0)
	for _, step := range []struct {
		after  time.Duration
		sum    Sum
		trying bool
		want   bool
	}{
		{0, Sum{}, false, false},
		{1, Sum{No: true}, true, false},
		{2, Sum{No: true, Hope: true}, false, false},
		{3, Sum{No: true}, false, true},
		{4, Sum{No: true, Hope: true}, true, true},
		{5, Sum{Yes: true, No: true}, false, false},
		{6, Sum{No: true}, false, true},
		{7, Sum{}, false, true},
		{7 + maxDoubt - 1, Sum{}, false, true},
		{7 + maxDoubt, Sum{}, false, false},
		{time.Hour, Sum{No: true}, false, true},
		{2 * time.Hour, Sum{}, false, true},
		{2*time.Hour + 1, Sum{No: true}, false, true}, // no doubt any more
		{3 * time.Hour, Sum{}, false, true},
	} {
		if got := d.Decide(step.sum, step.trying, start.Add(step.after)); got != step.want {
			t.Errorf("after %v, %+v: a client %v", step.after, step.sum, got)
		}
	}
}
