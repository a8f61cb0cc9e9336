package node

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/internal/portmap"
)

// No test leaves a goroutine behind: what Start starts, Close ends. And none asks the
// router of the machine's own network for anything.
func TestMain(m *testing.M) {
	newMapper = func(portmap.Config) *portmap.Mapper {
		panic("a test asks the machine's router to map a port: set Config.NoPortMapping")
	}
	goleak.VerifyTestMain(m)
}
