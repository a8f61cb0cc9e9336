package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Two who name the same key find each other, whoever comes first, and nobody else;
// who has left is not found any more.
func TestRendezvous(t *testing.T) {
	inSwarm(t, 12, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *swarm) {
		alice, bob, carol := s.nodes[2], s.nodes[5], s.nodes[7]
		tea := routing.KeyOf("tea")
		// meet looks for one who is to be found, and stays until ctx ends.
		meet := func(ctx context.Context, n *Node, key routing.Key, want *Node) (met, ended chan struct{}) {
			met, ended = make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				found := false
				for id := range n.Rendezvous(ctx, key) {
					if want == nil || id != want.ID() {
						t.Errorf("%s meets %s", n.ID(), id)
					} else if !found {
						found = true
						close(met)
					}
				}
			}()
			return met, ended
		}
		here, leave := context.WithCancel(t.Context())
		defer leave()
		atCoffee, coffeeEnded := meet(here, carol, routing.KeyOf("coffee"), nil)
		aliceMet, aliceEnded := meet(here, alice, tea, bob)
		time.Sleep(10 * time.Second) // she is alone
		bobMet, bobEnded := meet(here, bob, tea, alice)
		began := time.Now()
		<-bobMet
		if took := time.Since(began); took > time.Second {
			t.Errorf("who comes second finds the first after %v", took)
		}
		<-aliceMet
		if took := time.Since(began); took > maxLookWait {
			t.Errorf("the first finds who comes second after %v", took)
		}
		leave()
		<-aliceEnded
		<-bobEnded
		<-coffeeEnded
		select {
		case <-atCoffee:
			t.Error("somebody came to another rendezvous")
		default:
		}
		time.Sleep(2 * time.Minute)
		for p, err := range carol.FindProviders(within(t, time.Minute), tea) {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("of those who have left is found %v, %v", p.ID, err)
			}
		}
	})
}

func TestRendezvousBrokenOff(t *testing.T) {
	inSwarm(t, 4, simnet.Options{}, func(t *testing.T, s *swarm) {
		key := routing.KeyOf("tea")
		if _, err := s.nodes[1].Provide(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		var met []wire.PeerID
		for id := range s.nodes[2].Rendezvous(t.Context(), key) {
			met = append(met, id)
			break
		}
		if len(met) != 1 || met[0] != s.nodes[1].ID() || len(s.nodes[2].Published()) > 0 {
			t.Errorf("met %v, and still provides %v", met, s.nodes[2].Published())
		}
		time.AfterFunc(time.Second, func() { s.nodes[3].Close() })
		for range s.nodes[3].Rendezvous(t.Context(), routing.KeyOf("nobody")) {
			t.Error("somebody is found")
		}
		s.nodes[0].Close()
		for range s.nodes[0].Rendezvous(t.Context(), key) {
			t.Error("a node that is closed finds somebody")
		}
	})
}
