package bench

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"
)

// meter measures a stretch of work. The zero value is of no use: [start] one.
type meter struct {
	wall time.Time
	cpu  time.Duration
}

// start begins a measurement after a garbage collection, so that no stretch pays for the
// garbage of an earlier one.
func start() meter {
	runtime.GC()
	return meter{wall: time.Now(), cpu: cpuTime()}
}

// stop returns the cost since start. It may be called again.
func (m meter) stop() spent {
	return spent{wall: time.Since(m.wall), cpu: cpuTime() - m.cpu}
}

// spent is the cost of a stretch of work.
type spent struct {
	wall time.Duration
	cpu  time.Duration // user and system, of the whole process
}

func (s *spent) add(o spent) {
	s.wall += o.wall
	s.cpu += o.cpu
}

// per returns the CPU time of one of n operations, in units of unit.
func (s spent) per(n int, unit time.Duration) float64 {
	return ratio(float64(s.cpu)/float64(unit), float64(n))
}

// perSecond returns how many of n operations fit in a second.
func (s spent) perSecond(n int) float64 { return ratio(float64(n), s.wall.Seconds()) }

// perCPU returns how many of n operations fit in a second of CPU time.
func (s spent) perCPU(n int) float64 { return ratio(float64(n), s.cpu.Seconds()) }

// ratio is a/b to four significant digits, and 0 where b is 0: JSON has no
// infinity.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return round(a / b)
}

func round(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}

// latencies are the durations of many operations of one kind.
type latencies []time.Duration

// quantile returns the smallest duration that a share q of them do not
// exceed, in units of unit; 0 of none. It sorts them.
func (l latencies) quantile(q float64, unit time.Duration) float64 {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	i := min(max(int(math.Ceil(q*float64(len(l))))-1, 0), len(l)-1)
	return round(float64(l[i]) / float64(unit))
}

// residentBytes returns the memory the process occupies, after a collection:
// the resident set where the system tells (Linux), else what the Go runtime
// holds.
func residentBytes() float64 {
	debug.FreeOSMemory()
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			if pages, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				return float64(pages) * float64(os.Getpagesize())
			}
		}
	}
	held := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(held)
	return float64(held[0].Value.Uint64() - held[1].Value.Uint64())
}
