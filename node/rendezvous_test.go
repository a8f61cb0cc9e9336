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

// Two nodes with the same key find each other, in any order, and no other node. A node that has left
// is not found.
func TestRendezvous(t *testing.T) {
	inSwarm(t, 12, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		alice, bob, carol := s.nodes[2], s.nodes[5], s.nodes[7]
		tea := routing.KeyOf("tea")
		// meet runs a rendezvous until ctx ends, and reports when it has met want.
		meet := func(ctx context.Context, n *Node, key routing.Key, want *Node) (met, ended chan struct{}) {
			met, ended = make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				found := false
				for id, err := range n.Rendezvous(ctx, key) {
					if err != nil {
						t.Errorf("%s: %v", n.ID(), err)
					} else if want == nil || id != want.ID() {
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
		if took := time.Since(began); took > 30*time.Second {
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
	inSwarm(t, 4, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("tea")
		if _, err := s.nodes[1].Provide(within(t, time.Minute), key); err != nil {
			t.Fatal(err)
		}
		var met []wire.PeerID
		for id, err := range s.nodes[2].Rendezvous(t.Context(), key) {
			if err != nil {
				t.Error(err)
			}
			met = append(met, id)
			break
		}
		if len(met) != 1 || met[0] != s.nodes[1].ID() || len(s.nodes[2].Published()) > 0 {
			t.Errorf("met %v, and still provides %v", met, s.nodes[2].Published())
		}
		time.AfterFunc(time.Second, func() { s.nodes[3].Close() })
		for id, err := range s.nodes[3].Rendezvous(t.Context(), routing.KeyOf("nobody")) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("yields %v, %v", id, err)
			}
		}
		s.nodes[0].Close()
		for id, err := range s.nodes[0].Rendezvous(t.Context(), key) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("a node that is closed yields %v, %v", id, err)
			}
		}
	})
}

// To leave a rendezvous takes back only what the rendezvous began: not what the program
// provides by itself, before it or during it, nor what another call still needs.
func TestRendezvousTakesBackOnlyItsOwn(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n, key := s.nodes[2], routing.KeyOf("tea")
		attend := func() (leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for id, err := range n.Rendezvous(ctx, key) {
					if err != nil {
						t.Errorf("meets %v, %v", id, err)
					}
				}
			}()
			time.Sleep(time.Second)
			if !(rendezvousHost{n}).IsProvided(key) {
				t.Error("the key is not provided during a rendezvous")
			}
			return func() { cancel(); <-ended }
		}
		provide := func() {
			if _, err := n.Provide(within(t, time.Minute), key); err != nil {
				t.Fatal(err)
			}
		}
		attend()()
		if (rendezvousHost{n}).IsProvided(key) {
			t.Error("a key that only the rendezvous provided is provided still")
		}
		first, last := attend(), attend()
		first()
		if !(rendezvousHost{n}).IsProvided(key) {
			t.Error("the first of two to leave has taken back what the other needs")
		}
		last()
		if (rendezvousHost{n}).IsProvided(key) {
			t.Error("both have left, and the key is provided still")
		}
		leave := attend()
		provide()
		leave()
		if !(rendezvousHost{n}).IsProvided(key) {
			t.Error("what the program provided during the rendezvous was taken back")
		}
		attend()()
		if !(rendezvousHost{n}).IsProvided(key) {
			t.Error("what the program had provided before the rendezvous was taken back")
		}
	})
}

// A rendezvous that cannot tell the network of itself says so, goes on, and is found when
// it can.
func TestRendezvousTellsOfErrors(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		key := routing.KeyOf("tea")
		s.net.Partition(hosts(0, 2))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		failed, met := false, false
		for id, err := range s.nodes[2].Rendezvous(ctx, key) {
			switch {
			case err != nil && !failed:
				failed = true
				if !errors.Is(err, ErrUnreachable) {
					t.Errorf("cut off: %v", err)
				}
				s.net.Heal()
				if _, err := s.nodes[1].Provide(within(t, time.Minute), key); err != nil {
					t.Fatal(err)
				}
			case err == nil && id == s.nodes[1].ID():
				met = true
				cancel()
			}
		}
		if !failed || !met {
			t.Errorf("an error was told: %v; met after it: %v", failed, met)
		}
	})
}
