package punch

import (
	"crypto/ecdh"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// For any sequence of calls and packets, a checklist never panics, never sends more to
// addresses that are not validated than the peer has paid for, and validates an address only
// by a fresh answer from there.
func TestNoSequenceOfPacketsDoesHarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{now: time.Unix(1e9, 0), asked: map[uint64]Endpoint{}}
		m.start(t)
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"step":          func(*rapid.T) { m.wants(t, m.s.Step(m.now, m.send(t))) },
			"add candidate": func(t *rapid.T) { m.s.AddCandidates(m.now, rapid.Bool().Draw(t, "guess"), drawAddr(t)) },
			"add credit":    func(t *rapid.T) { m.pay(rapid.IntRange(0, 4096).Draw(t, "bytes")) },
			"talk":          func(t *rapid.T) { m.s.SetTalking(m.now, rapid.Bool().Draw(t, "on")) },
			"check":         func(*rapid.T) { m.s.Check(m.now) },
			"search from sockets": func(t *rapid.T) {
				m.s.SearchFromSockets(m.now, drawAddr(t), func() (int, bool) {
					return rapid.IntRange(1, 5).Draw(t, "socket"), rapid.Bool().Draw(t, "opened")
				})
			},
			"search ports": func(t *rapid.T) { m.s.SearchPorts(m.now, drawAddr(t).Addr()) },
			"set keys": func(t *rapid.T) {
				m.s.SetKeys(m.now, m.keys, m.send(t))
			},
			"probe":   func(t *rapid.T) { m.receive(t, m.peer.out.append(nil, drawKind(t), m.nonce(t))) },
			"open":    func(t *rapid.T) { m.receive(t, m.s.openDir.append(nil, kindOpen, m.nonce(t))) },
			"again":   func(t *rapid.T) { m.receive(t, m.draw(t)) },
			"garbage": func(t *rapid.T) { m.receive(t, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "b")) },
			"forged": func(t *rapid.T) {
				b := m.peer.out.append(nil, drawKind(t), m.nonce(t))
				b[rapid.IntRange(0, Size-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
				before := m.s.State(m.now)
				if m.receive(t, b) {
					t.Fatal("a forged probe counts as genuine")
				}
				if after := m.s.State(m.now); after != before {
					t.Fatalf("a forged probe changes the state to %+v", after)
				}
			},
			"": func(t *rapid.T) { m.check(t) },
		})
	})
}

// A machine drives one checklist and knows the keys of its peer.
type machine struct {
	now      time.Time
	s        *Checklist
	keys     Keys // of the checklist
	peer     Keys
	paid     int
	spent    int
	asked    map[uint64]Endpoint // by the nonces of its PINGs
	received [][]byte
}

func (m *machine) start(t *rapid.T) {
	keys := [2]*ecdh.PrivateKey{}
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().NewPrivateKey(append(make([]byte, 31), byte(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	public := func(i int) [32]byte { return [32]byte(keys[i].PublicKey().Bytes()) }
	isCallee := rapid.Bool().Draw(t, "isCallee")
	m.keys, _ = NewKeys(keys[0], public(1), !isCallee)
	m.peer, _ = NewKeys(keys[1], public(0), isCallee)
	caller := public(0)
	if isCallee {
		caller = public(1)
	}
	c := Config{Caller: caller, Rand: rand.New(rand.NewPCG(1, 2)).Uint64, Allowance: rapid.IntRange(0, 1500).Draw(t, "allowance")}
	m.paid = c.Allowance
	var err error
	if isCallee {
		m.s, err = NewCallee(c, m.keys, m.now, m.now)
	} else {
		m.s, err = NewCaller(c, m.now, m.now.Add(80*time.Millisecond), []netip.AddrPort{drawAddr(t)})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) send(t *rapid.T) Sender {
	return func(to Endpoint, b []byte) {
		if len(b) != Size || !IsUsable(to.Addr) {
			t.Fatalf("%x to %v", b, to)
		}
		if c := m.s.candidate(to); c == nil || c.validated.IsZero() {
			m.spent += packetCost(to.Addr, len(b))
		}
		kind, nonce, ok := m.peer.in.open(b)
		if m.s.keys == nil {
			kind, nonce, ok = m.s.openDir.open(b)
		}
		if !ok {
			t.Fatalf("%x is not for the peer", b)
		}
		if kind != kindPong {
			m.asked[nonce] = to
		}
	}
}

func (m *machine) pay(n int) {
	m.paid += n
	m.s.AddCredit(n)
}

// receive hands over a packet and fails if it validates an address that it should not.
func (m *machine) receive(t *rapid.T, b []byte) bool {
	from := Endpoint{rapid.IntRange(0, 3).Draw(t, "via"), drawAddr(t)}
	_, nonce, _ := m.peer.out.open(b)
	to, asked := m.asked[nonce]
	valid := m.validated(from)
	if len(b) == Size {
		m.paid += packetCost(from.Addr, Size) // at most, now or when it leaves the buffer
		m.received = append(m.received, b)
	}
	genuine := m.s.Receive(m.now, from.Via, from.Addr, b, m.send(t))
	if !valid && m.validated(from) && (!asked || to != from || b[0] != kindPong) {
		t.Fatalf("%v is validated by %x, the PING went to %v", from, b, to)
	}
	return genuine
}

func (m *machine) validated(e Endpoint) bool {
	c := m.s.candidate(e)
	return c != nil && !c.validated.IsZero()
}

func (m *machine) check(t *rapid.T) {
	if m.spent > m.paid {
		t.Fatalf("%d bytes to addresses that are not validated, credit for %d", m.spent, m.paid)
	}
	s := m.s
	if len(s.candidates) > maxCandidates || len(s.sent) > maxSent || len(s.sentOrder) != len(s.sent) ||
		len(s.answered) > maxAnswered || len(s.buffered) > maxBuffered {
		t.Fatal("a checklist grows without bound")
	}
}

func (m *machine) wants(t *rapid.T, next time.Time) {
	if !next.IsZero() && !next.After(m.now) {
		t.Fatal("Step wants to be called again at once")
	}
}

// nonce mostly draws the nonce of a PING that was sent.
func (m *machine) nonce(t *rapid.T) uint64 {
	if len(m.asked) > 0 && rapid.IntRange(0, 3).Draw(t, "made up") > 0 {
		i := rapid.IntRange(0, len(m.asked)-1).Draw(t, "which")
		if n := min(i, len(m.s.sentOrder)-1); n >= 0 {
			return m.s.sentOrder[n]
		}
	}
	return rapid.Uint64().Draw(t, "nonce")
}

func (m *machine) draw(t *rapid.T) []byte {
	if len(m.received) == 0 {
		return nil
	}
	return rapid.SampledFrom(m.received).Draw(t, "b")
}

func drawKind(t *rapid.T) byte {
	return rapid.SampledFrom([]byte{kindPing, kindPong, kindPong, kindOpen, kindBindingRequest}).Draw(t, "kind")
}

func drawAddr(t *rapid.T) netip.AddrPort {
	return rapid.SampledFrom([]netip.AddrPort{
		addr("1.2.3.4:5"), addr("1.2.3.4:6"), addr("192.168.1.1:5"), addr("[2001:db8::1]:5"), addr("10.0.0.1:7"),
		addr("[::ffff:1.2.3.4]:5"), addr("0.0.0.0:1"), addr("224.0.0.1:5"), addr("1.2.3.4:0"), {},
	}).Draw(t, "addr")
}
