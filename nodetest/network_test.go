package nodetest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/nodetest"
	"github.com/kadquic/kadquic/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = routing.KeyOf("greeting")

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// put stores a value from one node and get reads it at another, or the test fails.
func put(t *testing.T, n *node.Node, value string) {
	t.Helper()
	if _, err := n.Put(within(t, time.Minute), key, []byte(value), nil); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, n *node.Node, want string) {
	t.Helper()
	if got, err := n.Get(within(t, time.Minute), key, nil); err != nil || string(got.Data) != want {
		t.Fatalf("got %q and %v, want %q", got.Data, err, want)
	}
}

// media runs a test on the simulated network and on loopback.
func media(t *testing.T, nodes int, test func(t *testing.T, net *nodetest.Network)) {
	t.Run("virtual", func(t *testing.T) { nodetest.Run(t, nodes, nodetest.Options{Delay: 20 * time.Millisecond}, test) })
	t.Run("loopback", func(t *testing.T) { test(t, nodetest.Loopback(t, nodes, nodetest.Options{})) })
}

func TestNodesFindEachOthersValues(t *testing.T) {
	media(t, 5, func(t *testing.T, net *nodetest.Network) {
		put(t, net.Node(1), "hello")
		get(t, net.Node(4), "hello")
		late := net.Add(node.Config{Mode: node.ModeClient})
		get(t, late, "hello")
		if len(net.Nodes()) != 6 {
			t.Errorf("%d nodes, want 6", len(net.Nodes()))
		}
	})
}

func TestKilledNodeIsSilent(t *testing.T) {
	media(t, 4, func(t *testing.T, net *nodetest.Network) {
		dead := net.Node(3)
		net.Kill(dead)
		if _, err := net.Node(1).Ping(within(t, 2*time.Second), dead.ID()); err == nil {
			t.Error("a killed node answers")
		}
		put(t, net.Node(1), "hello") // the other nodes continue
		get(t, net.Node(2), "hello")
	})
}

func TestPartitionAndHeal(t *testing.T) {
	media(t, 4, func(t *testing.T, net *nodetest.Network) {
		left, right := net.Node(0), net.Node(3)
		net.Partition(net.Nodes()[:2])
		if _, err := left.Ping(within(t, 2*time.Second), right.ID()); err == nil {
			t.Error("a ping passes the partition")
		}
		if _, err := left.Ping(within(t, 10*time.Second), net.Node(1).ID()); err != nil {
			t.Errorf("a ping on the same side: %v", err)
		}
		net.Heal()
		for end := time.Now().Add(30 * time.Second); ; {
			_, err := left.Ping(within(t, 5*time.Second), right.ID())
			if err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("no ping after the partition: %v", err)
			}
		}
	})
}

func TestTotalLossStopsEverything(t *testing.T) {
	media(t, 2, func(t *testing.T, net *nodetest.Network) {
		net.SetLoss(1)
		if _, err := net.Node(0).Ping(within(t, 2*time.Second), net.Node(1).ID()); err == nil {
			t.Error("a ping survives the loss of every packet")
		}
	})
}

func TestNodesBehindNATsTalk(t *testing.T) {
	nodetest.Run(t, 4, nodetest.Options{Delay: 20 * time.Millisecond}, func(t *testing.T, net *nodetest.Network) {
		home, office := net.NAT(false), net.NAT(true)
		alice, bob := home.Add(node.Config{}), office.Add(node.Config{})
		time.Sleep(2 * time.Minute) // until they know that no peer reaches them, and have relays
		listener, err := bob.Listen("/echo/1")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				s, err := listener.Accept()
				if err != nil {
					return
				}
				io.Copy(s, s)
				s.Close()
			}
		}()
		s, err := alice.Dial(within(t, time.Minute), bob.ID(), "/echo/1")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		var echo [5]byte
		if _, err := io.ReadFull(s, echo[:]); err != nil || string(echo[:]) != "hello" {
			t.Fatalf("read %q, %v", echo, err)
		}
		office.Reboot()
		if _, err := s.Write([]byte("again")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, echo[:]); err != nil || string(echo[:]) != "again" {
			t.Fatalf("after the NAT's reboot read %q, %v", echo, err)
		}
	})
}

func TestSameSeedSameIdentities(t *testing.T) {
	ids := func(seed uint64) (all []string) {
		t.Run("", func(t *testing.T) {
			nodetest.Run(t, 2, nodetest.Options{Seed: seed}, func(t *testing.T, net *nodetest.Network) {
				for _, n := range net.Nodes() {
					all = append(all, n.ID().String())
				}
			})
		})
		return all
	}
	a, b, c := ids(1), ids(1), ids(2)
	if a[0] != b[0] || a[1] != b[1] || a[0] == a[1] || a[0] == c[0] {
		t.Errorf("seed 1 gives %v and %v, seed 2 %v", a, b, c)
	}
}

func TestConfigOfOptions(t *testing.T) {
	nodetest.Run(t, 2, nodetest.Options{Config: node.Config{Network: "mine"}}, func(t *testing.T, net *nodetest.Network) {
		put(t, net.Node(0), "hello")
		stranger, err := node.New(node.Config{Bootstrap: net.Bootstrap()})
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if _, err := stranger.Get(within(t, time.Second), key, nil); !errors.Is(err, node.ErrNotStarted) {
			t.Errorf("get of a node that was not started: %v", err)
		}
	})
}
