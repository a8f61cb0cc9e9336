package node

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// Many are renewed in few requests, none of which a holder refuses, and all of
// them stay.
func TestManyAreRenewedAtAPace(t *testing.T) {
	inSwarm(t, 8, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		const many = 400
		d := &drawer{}
		for i := range many {
			r := signed(t, 100, wire.Record{
				Kind: wire.KindOpen, Key: routing.KeyOf(fmt.Sprint(i)), Value: make([]byte, 512),
				Seq: 1, Expiry: time.Now().Add(time.Hour),
			})
			d.savePublication(publicationKeyOf(r).String(), wire.AppendSigned(nil, r))
		}
		n := s.addWith(d, Config{Key: testKey(100), RecordTTL: time.Hour})
		before := n.Stats().Sent
		time.Sleep(110 * time.Minute) // at once, after 50 minutes, after 100
		sent := n.Stats().Sent
		finds, stores := sent.FindNode-before.FindNode, sent.Store-before.Store
		t.Logf("%d records three times on 9 nodes: %d FIND_NODE, %d STORE", many, finds, stores)
		if finds+stores > 3*many/2 || d.saved != many {
			t.Errorf("that is more than one request for two records; %d were saved, and need not be again", d.saved-many)
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

// One whom nobody answers tries again, soon when it is back.
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

// What was put while nobody else was there reaches those who come.
func TestPutAlonePublishedToThoseWhoCome(t *testing.T) {
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

// One who has put something else with our key, on another machine, is not
// overruled by our renewal: it is ended.
func TestRenewalDoesNotOverrule(t *testing.T) {
	for name, size := range map[string]int{"few nodes": 4, "more than k": 9} {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				for range size {
					s.add(Config{K: 4, RecordTTL: time.Hour})
				}
				n, d := s.nodes[1], &drawer{}
				n.publications.load(d, n.id)
				key := routing.KeyOf("x")
				s.put(n, key, "here", PutOptions{})
				s.put(s.nodes[2], key, "elsewhere", PutOptions{Publisher: testKey(1), TTL: 3 * time.Hour})
				time.Sleep(90 * time.Minute)
				if len(n.Published()) != 0 || len(d.what) != 0 {
					t.Errorf("published: %+v, %d on disk", n.Published(), len(d.what))
				}
				s.wantGet(s.nodes[3], key, GetOptions{Quorum: 4}, "elsewhere")
			})
		})
	}
}

// Where a later version of ours has ended, or is the same, the next is signed
// over it.
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
			if err := n.publications.merge(old, 0); err != nil {
				t.Fatal(err)
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

// Whatever happens in whatever order, the list has the newest version that
// anybody took, or that is under way, and the disk says the same.
func TestPublicationsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &drawer{}
		ps := newPublications(time.Hour)
		ps.disk = d
		var under []*version // way
		var stands *wire.Signed
		highest := uint64(0) // of those that anybody took
		seq := uint64(0)
		key := routing.KeyOf("x")
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				seq++
				r, err := wire.Sign(wire.Record{Kind: wire.KindOpen, Key: key, Seq: seq, Expiry: time.Now().Add(time.Hour)}, testKey(1))
				if err != nil {
					t.Fatal(err)
				}
				v, err := ps.begin(r, rapid.Bool().Draw(t, "ends"))
				if err != nil {
					t.Fatal(err)
				}
				if v != nil {
					under = append(under, v)
				}
			},
			"end": func(t *rapid.T) {
				if len(under) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(under)-1).Draw(t, "which")
				v := under[i]
				under = append(under[:i:i], under[i+1:]...)
				ok := rapid.Bool().Draw(t, "ok")
				s := Stored{Key: key}
				if ok {
					s.Count = 3
				}
				if err := ps.end(v, s, nil); err != nil {
					t.Fatal(err)
				}
				if ok && v.record.Record.Seq > highest {
					stands, highest = v.record, v.record.Record.Seq
					if v.ends {
						stands = nil
					}
				}
			},
			"": func(t *rapid.T) {
				if len(under) > 0 {
					return
				}
				p, saved := ps.by[publicationKey{wire.KindOpen, key}], len(d.what)
				switch {
				case stands == nil && (p != nil || saved != 0):
					t.Fatalf("%+v is in the list, %d on disk; want nothing", p, saved)
				case stands == nil:
				case p == nil || p.version.record != stands || p.version.before != nil || saved != 1:
					t.Fatalf("%+v is in the list, %d on disk; want sequence %d", p, saved, stands.Record.Seq)
				}
			},
		})
	})
}

// There is an end to what one node keeps alive.
func TestPublicationsAreBounded(t *testing.T) {
	ps := newPublications(time.Hour)
	r := *signed(t, 1, wire.Record{Kind: wire.KindOpen, Expiry: time.Now().Add(time.Hour)})
	for i := range maxPublished + 1 {
		r := r
		r.Record.Key = routing.KeyOf(fmt.Sprint(i))
		v, err := ps.begin(&r, false)
		if (err != nil) != (i == maxPublished) {
			t.Fatalf("put %d: %v", i+1, err)
		}
		ps.end(v, Stored{Count: 1}, nil)
	}
	if again := newPublications(time.Hour); again.adopt(&r, 0) != nil {
		t.Error("the first was refused")
	}
	start := time.Now()
	due := ps.due(start.Add(time.Hour), false, false)
	t.Logf("%d are due, found in %v", len(due), time.Since(start))
	if len(due) != maxPublished {
		t.Error(len(due))
	}
}
