package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/publish"
	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Many are renewed in few requests, none of which a holder refuses, and all of
// them stay.
func TestManyAreRenewedAtAPace(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		const many = 400
		d := &stateMap{}
		for i := range many {
			r := signed(t, 100, wire.Record{
				Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Value: make([]byte, 512),
				Seq: 1, Expiry: time.Now().Add(time.Hour),
			})
			d.Save("published/"+publish.KeyOf(r).String(), wire.AppendSigned(nil, r))
		}
		n := s.addWith(d, Config{Key: testKey(100), RecordTTL: time.Hour})
		before := n.Stats().Sent
		time.Sleep(110 * time.Minute) // at once, after 50 minutes, after 100
		sent := n.Stats().Sent
		finds, stores := sent.FindNode-before.FindNode, sent.Store-before.Store
		t.Logf("%d records three times on 9 nodes: %d FIND_NODE, %d STORE", many, finds, stores)
		if finds+stores > 3*many/2 || d.writes() != many {
			t.Errorf("that is more than one request for two records; %d were saved, and need not be again", d.writes()-many)
		}
		all := n.Published()
		for _, p := range all {
			if p.Err != nil || p.Stored.Count != 9 || p.Stored.Of != 9 || time.Since(p.Renewed) > 50*time.Minute {
				t.Fatalf("published: %+v", p)
			}
		}
		if len(all) != many || s.nodes[3].values.Len() < many {
			t.Errorf("%d are published, and %d held", len(all), s.nodes[3].values.Len())
		}
	})
}

// A renewal without an answer is tried again, and soon succeeds when the network is back.
func TestRenewalIsTriedAgain(t *testing.T) {
	inSwarm(t, 3, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{Mode: ModeClient, RecordTTL: 6 * time.Hour})
		key := routing.KeyOf("x")
		s.put(n, key, "x", PutOptions{})
		time.Sleep(4 * time.Hour)
		s.net.Partition(hosts(3, 4))
		time.Sleep(90 * time.Minute)
		if p := only(t, n); p.Err == nil || time.Since(p.Renewed) < 5*time.Hour {
			t.Errorf("cut off: %+v", p)
		}
		s.net.Heal()
		time.Sleep(15 * time.Minute)
		if p := only(t, n); p.Err != nil || p.Stored.Count != 3 || time.Since(p.Renewed) > 15*time.Minute {
			t.Errorf("back again: %+v", p)
		}
	})
}

// A record that was put without peers reaches those that join later.
func TestPutWithoutPeersReachesLaterPeers(t *testing.T) {
	inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.add(Config{})
		key := routing.KeyOf("x")
		s.put(n, key, "x", PutOptions{})
		s.add(Config{})
		s.add(Config{})
		time.Sleep(3 * time.Minute)
		if p := only(t, n); p.Stored.Of != 3 || p.Stored.Count != 3 {
			t.Errorf("published: %+v", p)
		}
	})
}

// A renewal does not replace a newer version that was put with the same key on another machine; it
// ends the publication.
func TestRenewalDoesNotOverrule(t *testing.T) {
	for name, size := range map[string]int{"few nodes": 4, "more than k": 9} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				for range size {
					s.add(Config{K: 4, RecordTTL: time.Hour})
				}
				n, d := s.nodes[1], &stateMap{}
				n.publications.Load(d, time.Now())
				key := routing.KeyOf("x")
				s.put(n, key, "here", PutOptions{})
				s.put(s.nodes[2], key, "elsewhere", PutOptions{Publisher: testKey(1), TTL: 3 * time.Hour})
				time.Sleep(90 * time.Minute)
				if len(n.Published()) != 0 || d.published() != 0 {
					t.Errorf("published: %+v, %d on disk", n.Published(), d.published())
				}
				s.wantGet(s.nodes[3], key, GetOptions{Quorum: 4}, "elsewhere")
			})
		})
	}
}

// If a later version of the same node has ended or is equal, the next one is signed with a higher
// sequence number.
func TestRenewalOverOurOwnOfBefore(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		n := s.nodes[1]
		name := []byte("n")
		later := uint64(time.Now().Add(5 * time.Minute).UnixMilli())
		put := PutOptions{Kind: wire.KindOwned, Name: name, Publisher: n.config.Key, Seq: later}
		for name, life := range map[string]time.Duration{"ended": time.Minute, "the same": 23 * time.Hour} {
			put.Name, put.TTL = []byte(name), life
			key := s.put(s.nodes[2], routing.Key{}, "x", put).Key
			old := signed(t, 1, wire.Record{Kind: wire.KindOwned, Key: key, Name: put.Name, Value: []byte("x"), Seq: 7, Expiry: time.Now().Add(time.Hour)})
			time.Sleep(2 * time.Minute)
			backup := &stateMap{by: map[string][]byte{"published/x": wire.AppendSigned(nil, old)}}
			if m := n.publications.MergePublications(backup); m.Publications != 1 {
				t.Fatal(m)
			}
			time.Sleep(10 * time.Minute)
			if p := only(t, n); p.Seq <= later || p.Stored.Count != 4 || p.Err != nil {
				t.Errorf("%s: published %+v, want above %d", name, p, later)
			}
			if _, err := n.Unpublish(within(t, time.Minute), wire.KindOwned, key); err != nil {
				t.Error(err)
			}
		}
	})
}
