package node

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// A client that has come for one answer knows one server. What NAT stands before it
// takes three to say: it hears of others.
func TestAClientLearnsItsMapping(t *testing.T) {
	inSwarm(t, 5, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		alice := s.add(Config{Mode: ModeClient})
		time.Sleep(2 * time.Second)
		if m := alice.mapping(); m != wire.MappingNone {
			t.Errorf("before a node without a NAT stands %v", m)
		}
	})
}
