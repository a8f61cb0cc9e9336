package peerstore

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/wire"
)

// The reference model: lists that are searched and sorted again at every call.
type model struct {
	maxPeers, maxAddrs int
	peers              []*modelPeer // the latest touched last
}

type modelPeer struct {
	id    wire.PeerID
	class class
	addrs []*modelAddr
}

type modelAddr struct {
	addr                     wire.Addr
	source                   Source
	expiry, success, failure int64
	failures                 int
}

func (m *model) find(id wire.PeerID) *modelPeer {
	if i := m.index(id); i >= 0 {
		return m.peers[i]
	}
	return nil
}

func (m *model) index(id wire.PeerID) int {
	return slices.IndexFunc(m.peers, func(p *modelPeer) bool { return p.id == id })
}

// oldest returns the index of the peer of class c that was touched first, or -1.
func (m *model) oldest(c class) int {
	return slices.IndexFunc(m.peers, func(p *modelPeer) bool { return p.class == c })
}

func (m *model) count(c class) (n int) {
	for _, p := range m.peers {
		if p.class == c {
			n++
		}
	}
	return n
}

func (m *model) add(id wire.PeerID, src Source, t, ttl int64, a wire.Addr) {
	c := map[Source]class{SourceTold: classTold, SourceRecord: classTold, SourceObserved: classMet, SourceDialled: classMet, SourceUser: classUser}[src]
	i := m.index(id)
	if i < 0 {
		if len(m.peers) == m.maxPeers {
			victim := m.oldest(classTold)
			if m.count(classMet) > m.maxPeers*7/8 || victim < 0 && c != classTold {
				victim = m.oldest(classMet)
			}
			if victim < 0 {
				return
			}
			m.peers = slices.Delete(m.peers, victim, victim+1)
		}
		i = len(m.peers)
		m.peers = append(m.peers, &modelPeer{id: id, class: c})
	}
	p := m.peers[i]
	if c >= p.class {
		p.class = c
		m.peers = append(slices.Delete(m.peers, i, i+1), p)
	}
	p.add(a, src, t, t+ttl, m.maxAddrs)
}

func (p *modelPeer) get(a wire.Addr) *modelAddr {
	for _, x := range p.addrs {
		if x.addr == a {
			return x
		}
	}
	return nil
}

func (p *modelPeer) add(addr wire.Addr, src Source, t, expiry int64, limit int) {
	a := p.get(addr)
	if a == nil {
		a = &modelAddr{addr: addr, source: src, expiry: expiry}
		met := src == SourceObserved || src == SourceDialled
		if met {
			a.success = t
		}
		if len(p.addrs) == limit {
			worst := slices.MinFunc(p.addrs, func(x, y *modelAddr) int {
				return cmp.Or(x.worth(t)-y.worth(t), cmp.Compare(x.expiry, y.expiry))
			})
			if a.worth(t) < worst.worth(t) {
				return
			}
			p.addrs = slices.DeleteFunc(p.addrs, func(x *modelAddr) bool { return x == worst })
		}
		p.addrs = append(p.addrs, a)
		return
	}
	met := src == SourceObserved || src == SourceDialled
	if met || src >= a.source {
		a.expiry = max(a.expiry, expiry)
	}
	a.source = max(a.source, src)
	if met {
		a.success, a.failure, a.failures = t, 0, 0
	}
}

func (a *modelAddr) worth(t int64) int {
	failed := a.failures >= 5 || a.failures > 0 && a.success == 0
	switch {
	case a.expiry <= t, failed && a.source != SourceUser:
		return 0
	case a.source == SourceUser:
		return 4
	case a.success != 0:
		return 3
	case a.source == SourceRecord:
		return 2
	}
	return 1
}

// dial is the order of AppendAddrs.
func (p *modelPeer) dial(t int64) (out []wire.Addr) {
	live := slices.DeleteFunc(slices.Clone(p.addrs), func(a *modelAddr) bool { return a.expiry <= t })
	first := func(yes bool) int {
		if yes {
			return 0
		}
		return 1
	}
	waits := func(a *modelAddr) bool { return a.failures > 0 && a.failure+int64(Backoff(a.failures)) > t }
	slices.SortFunc(live, func(a, b *modelAddr) int {
		return cmp.Or(
			first(!waits(a))-first(!waits(b)),
			first(a.source == SourceUser)-first(b.source == SourceUser),
			cmp.Compare(b.success, a.success), cmp.Compare(b.source, a.source), cmp.Compare(b.expiry, a.expiry))
	})
	for _, a := range live {
		out = append(out, a.addr)
	}
	return out
}

// verified is the order of AppendVerified.
func (p *modelPeer) verified() (out []wire.Addr) {
	met := slices.DeleteFunc(slices.Clone(p.addrs), func(a *modelAddr) bool { return a.success == 0 })
	slices.SortFunc(met, func(a, b *modelAddr) int {
		return cmp.Or(min(a.failures, 1)-min(b.failures, 1), cmp.Compare(a.failure, b.failure), cmp.Compare(b.success, a.success))
	})
	for _, a := range met {
		out = append(out, a.addr)
	}
	return out
}

// After any sequence of operations the store knows what the plain model knows.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const peers, places = 14, 7
		m := &model{maxPeers: 8, maxAddrs: 4}
		s := New(Options{MaxPeers: 8, MaxAddrs: 4})
		now := noon
		somebody := func() wire.PeerID { return id(rapid.IntRange(0, peers-1).Draw(t, "peer")) }
		somewhere := func() wire.Addr { return addr(rapid.IntRange(0, places-1).Draw(t, "addr")) }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				src := Source(rapid.IntRange(int(SourceTold), int(SourceUser)).Draw(t, "source"))
				ttl := time.Duration(rapid.IntRange(1, 300).Draw(t, "ttl"))*time.Second + 1
				who, a := somebody(), somewhere()
				m.add(who, src, now.UnixNano(), int64(ttl), a)
				s.Add(who, src, now, ttl, a)
			},
			"fail": func(t *rapid.T) {
				who, a := somebody(), somewhere()
				s.Failure(who, a, now)
				if p := m.find(who); p != nil && p.get(a) != nil {
					p.get(a).failure, p.get(a).failures = now.UnixNano(), p.get(a).failures+1
				}
			},
			"prune": func(t *rapid.T) {
				n := len(m.peers)
				for _, p := range m.peers {
					p.addrs = slices.DeleteFunc(p.addrs, func(a *modelAddr) bool { return a.expiry <= now.UnixNano() })
				}
				m.peers = slices.DeleteFunc(m.peers, func(p *modelPeer) bool { return len(p.addrs) == 0 })
				if got := s.Prune(now); got != n-len(m.peers) {
					t.Fatalf("Prune dropped %d, want %d", got, n-len(m.peers))
				}
			},
			"": func(t *rapid.T) {
				// No two events at one time, so that no order is left open.
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pass"))*time.Second + 1000)
				if s.Len() != len(m.peers) {
					t.Fatalf("%d peers, want %d", s.Len(), len(m.peers))
				}
				for i := range peers {
					var dial, verified []wire.Addr
					if p := m.find(id(i)); p != nil {
						dial, verified = p.dial(now.UnixNano()), p.verified()
					}
					if d := gocmp.Diff(dial, s.AppendAddrs(nil, id(i), now)); d != "" {
						t.Fatalf("peer %d, to dial:\n%s", i, d)
					}
					if d := gocmp.Diff(verified, s.AppendVerified(nil, id(i))); d != "" {
						t.Fatalf("peer %d, verified:\n%s", i, d)
					}
				}
			},
		})
	})
}
