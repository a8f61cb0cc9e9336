package quic

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Connections and streams cost no goroutine of this package: among all stacks only
// those of the tests were started here.
func TestPackageStartsNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ms := newMembers(t)
		hub := ms.join(PoolConfig{})
		for range 5 {
			m := ms.join(PoolConfig{})
			c := m.get(t, hub)
			s, err := c.OpenStream(t.Context())
			check(t, err)
			_, err = s.Write([]byte{1})
			check(t, err)
		}
		time.Sleep(time.Second)
		hub.has(t, 5, 5, 0)

		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			_, creator, _ := strings.Cut(stack, "created by ")
			ours := strings.HasPrefix(creator, "github.com/kadquic/kadquic/quic.")
			if ours && !strings.Contains(creator, "_test.go") {
				t.Errorf("%s", stack)
			}
		}
	})
}
