package field

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
	"github.com/kadquic/kadquic/wire"
)

// A peer that lies about its address cannot make others send more bytes to a stranger than
// it sends itself. The test counts both on their links, with all headers. Each lie has a
// separate liar and stranger; all lies run at once.
func TestNoPeerAmplifies(t *testing.T) {
	n := build(t, 5, far)
	victims := n.peers([]*natlab.Host{
		n.Home("linux-victim", natlab.Linux),
		n.Home("symmetric-victim", natlab.Symmetric),
	}, setting{})
	lies := []forgery{
		{},
		{Padding: wire.MaxPadding},
		{Mapping: wire.MappingRandom, Birthday: true},
		{Mapping: wire.MappingIndependent, Birthday: true, Padding: wire.MaxPadding, Credit: 20},
	}
	var told []*lie
	for _, v := range victims {
		var relay string
		v.settled("a place at a relay", func(s state) bool {
			if len(s.Relays) > 0 {
				relay = n.atOf(s.Relays[0])
			}
			return relay != ""
		})
		for _, f := range lies {
			told = append(told,
				n.lie("a call of "+v.Name(), f, func(l *lie) error {
					return l.forge("call", order{Peer: v.ID, For: 2 * time.Second}, relay)
				}),
				n.lie("a handshake with "+v.Name(), f, func(l *lie) error {
					return l.forge("handshake", order{Peer: v.ID, For: 2 * time.Second}, relay)
				}),
				n.lie("an answer to "+v.Name(), f, func(l *lie) error { return l.answer(v, relay) }),
			)
		}
	}
	for _, padding := range []int{0, wire.DialBytes, 2 * wire.DialBytes} {
		told = append(told, n.lie("a dial back", forgery{Padding: padding}, func(l *lie) error {
			return l.forge("dial back", order{}, n.public[0].at())
		}))
	}
	var wg sync.WaitGroup
	for _, l := range told {
		wg.Go(func() { l.err = l.tell(l) })
	}
	wg.Wait()
	for _, l := range told {
		sent, got := counted(t, l.liar.Host).OutBytes-l.before, counted(t, l.stranger).InBytes
		t.Logf("%s, %+v: the liar sends %d bytes, the stranger gets %d (%v)", l.what, l.forgery, sent, got, l.err)
		if got > sent {
			t.Errorf("%s, %+v: the stranger gets %d bytes, more than the %d that the liar sends", l.what, l.forgery, got, sent)
		}
	}
}

// A lie is one liar and one stranger.
type lie struct {
	forgery
	what     string
	tell     func(*lie) error
	liar     *peer
	before   int // bytes that the liar had sent when it began
	stranger *natlab.Host
	named    []string // addresses of the stranger
	err      error    // the error that the liar gets
}

func (n *network) lie(what string, f forgery, tell func(*lie) error) *lie {
	n.t.Helper()
	n.lies++
	l := &lie{forgery: f, what: what, tell: tell, stranger: n.Public(fmt.Sprintf("stranger-%d", n.lies))}
	l.liar = start(n.t, n.Public(fmt.Sprintf("liar-%d", n.lies)), setting{Client: true})
	for i := range wire.MaxCandidates {
		ip := l.stranger.IP4()
		if i%4 == 3 {
			ip = l.stranger.IP6()
		}
		l.named = append(l.named, netip.AddrPortFrom(ip, uint16(4000+i)).String())
	}
	l.before = counted(n.t, l.liar.Host).OutBytes
	return l
}

// forge has the liar lie to a node, three times.
func (l *lie) forge(how string, o order, node string) error {
	o.Do, o.Forgery, o.Addrs, o.Count = "forge", l.forgery, append([]string{node}, l.named...), 3
	o.Forgery.How = how
	var came map[string]int
	if err := l.liar.do(o, &came); err != nil {
		return err
	}
	return fmt.Errorf("it hears %v", came)
}

// answer has a peer call the liar.
func (l *lie) answer(caller *peer, relay string) error {
	var id string
	if err := l.liar.do(order{Do: "lurk", Addrs: append([]string{relay}, l.named...), Forgery: l.forgery}, &id); err != nil {
		return err
	}
	if err := caller.do(order{Do: "learn", Addrs: []string{relay + "/p2p-circuit/p2p/" + id}}, nil); err != nil {
		return err
	}
	return caller.do(order{Do: "call", Peer: id, For: time.Second}, nil)
}

func counted(t *testing.T, h *natlab.Host) natlab.Counters {
	t.Helper()
	c, err := h.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// atOf returns the address of the public node with an ID.
func (n *network) atOf(id string) string {
	n.t.Helper()
	for _, p := range n.public {
		if p.ID == id {
			return p.at()
		}
	}
	n.t.Fatalf("%s is not a public node", id)
	return ""
}
