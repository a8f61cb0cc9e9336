package sim

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		type due struct {
			at time.Duration
			id int
		}
		var want, got []due
		id := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				d := due{time.Duration(rapid.IntRange(0, 9).Draw(t, "at")), id}
				id++
				q.push(d.at, func() { got = append(got, d) })
				want = append(want, d)
			},
			"pop": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip()
				}
				slices.SortStableFunc(want, func(a, b due) int { return cmp.Compare(a.at, b.at) })
				q.pop().do()
				if got[len(got)-1] != want[0] {
					t.Fatalf("%v happens, want %v", got[len(got)-1], want[0])
				}
				want = want[1:]
			},
		})
	})
}
