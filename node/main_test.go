package node

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind: what Start starts, Close ends.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
