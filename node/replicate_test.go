package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/wire"
)

// Many records are brought to the k nearest of each by far fewer lookups than
// there are records, and one stream of them to each node; by a node that knows
// a part of the network only, and by a client.
func TestReplicateManyRecords(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		s.addMany(30, 4)
		for i, n := range []*Node{s.nodes[7], s.add(Config{K: 4, Mode: ModeClient})} {
			records := make([]*wire.Signed, 300)
			for j := range records {
				records[j] = signed(t, 1, wire.Record{Kind: wire.KindContent, Seq: 1, Expiry: time.Now().Add(20 * time.Hour), Value: fmt.Append(nil, i, j)})
			}
			before := n.Stats().Sent
			acks := n.replica.Replicate(within(t, 10*time.Minute), records)
			after := n.Stats().Sent
			for j, r := range records {
				held := 0
				for x := range s.trueNearest(r.Record.Key, 4) {
					if x.HasRecord(wire.KindContent, r.Record.Key) {
						held++
					}
				}
				if acks[j] != 4 || held != 4 {
					t.Errorf("record %d: %d nodes say they hold it, %d of the nearest do", j, acks[j], held)
				}
			}
			finds, stores := after.FindNode-before.FindNode, after.Store-before.Store
			t.Logf("300 records: %d FIND_NODE, %d STORE", finds, stores)
			if finds > 300 || stores > 2*30 {
				t.Errorf("too many requests")
			}
		}
	})
}
