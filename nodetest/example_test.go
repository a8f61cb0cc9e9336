package nodetest_test

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/nodetest"
	"github.com/kadquic/kadquic/routing"
)

// An application's test: a value survives the silent death of a third of the network, and is
// still found an hour later. In virtual time the hour passes in seconds.
func TestApplicationSurvivesDeaths(t *testing.T) {
	nodetest.Run(t, 30, nodetest.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, net *nodetest.Network) {
		key := routing.KeyOf("song of the day")
		if _, err := net.Node(0).Put(t.Context(), key, []byte("Clair de lune"), nil); err != nil {
			t.Fatal(err)
		}
		for _, n := range net.Nodes()[20:] {
			net.Kill(n)
		}
		time.Sleep(time.Hour)
		if song, err := net.Node(7).Get(t.Context(), key, nil); err != nil || string(song.Data) != "Clair de lune" {
			t.Errorf("got %q, %v", song.Data, err)
		}
	})
}
