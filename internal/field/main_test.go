package field

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/natlab"
)

var (
	all      = flag.Bool("field.all", false, "all pairs of the matrix, and all tries")
	only     = flag.String("field.pairs", "", "only the pairs of the matrix that match a `pattern`, like \"linux calls symm\"")
	parallel = flag.Int("field.parallel", 2, "calls under way at a `time`")
	strict   = flag.Bool("field.strict", false, "assert the targets in time")
	trace    = flag.Bool("field.trace", false, "print what the nodes log")
)

// patience bounds every wait. The machine may be busy, and two peers whose path has used a
// relay for a while search for another only once a minute.
const patience = 2 * time.Minute

// The way of a packet from host to host crosses two links, so the round trip is four.
const (
	linkDelay = 20 * time.Millisecond
	rtt       = 4 * linkDelay
)

// far is a lab whose hosts are one rtt from each other.
var far = natlab.Config{Link: natlab.Link{Delay: linkDelay}}

// TestMain is also the program that natlab runs on a host.
func TestMain(m *testing.M) {
	if text := os.Getenv(settingVariable); text != "" {
		if err := runProgram(text, os.Stdin, os.Stdout, os.Stderr); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", atOnce) // they wait more than they work
	}
	goleak.VerifyTestMain(m)
}

// target checks a time against a target of the project. With -field.strict a miss fails the
// test, without it the test logs the miss.
func target(t *testing.T, what string, got, most time.Duration) {
	t.Helper()
	switch {
	case got <= most:
		t.Logf("%s: %v, target %v", what, ms(got), ms(most))
	case *strict:
		t.Errorf("%s: %v, want at most %v", what, ms(got), ms(most))
	default:
		t.Logf("%s: %v, MISSES the target %v", what, ms(got), ms(most))
	}
}

// within checks a time against a number of round trips, measured at the same time: on a
// busy machine both take longer. Unlike target, it fails the
// test without -field.strict too.
func within(t *testing.T, what string, got time.Duration, rtts times, most float64) {
	t.Helper()
	trips := float64(got) / float64(max(rtt, rtts.median()))
	if trips > most {
		t.Errorf("%s: %v, %.1f round trips of %v; want at most %.1f", what, ms(got), trips, ms(rtts.median()), most)
		return
	}
	t.Logf("%s: %v, %.1f round trips of at most %.1f", what, ms(got), trips, most)
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
