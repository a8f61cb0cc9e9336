package natlab

import "testing"

func TestPart(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			lab := New(t)
			v := newServer(t, lab.Public("one"), lab.Public("other"), network)
			a := listen(t, lab.Home("a", Linux, Options{IPv6: true}), network)
			control := v.sockets[2]
			b := listen(t, lab.Public("b"), network)
			reaches := func() bool {
				token := a.send(b.addr())
				if _, ok := control.await(a.send(control.addr())); !ok { // what was sent before it has come too
					t.Fatal("a and another are parted")
				}
				_, ok := from(v.arrivalsAt(t, b), token)
				return ok
			}
			if !reaches() {
				t.Fatal("a does not reach b")
			}
			for range 2 {
				lab.Part(a.host.NAT(), b.host)
				if reaches() {
					t.Error("a reaches b, parted from it")
				}
				lab.Join(b.host, a.host.NAT())
				if !reaches() {
					t.Error("a does not reach b again")
				}
			}
		})
	}
}

// arrivalsAt is arrivals, of a socket of a public host.
func (v *server) arrivalsAt(t *testing.T, s *socket) []packet {
	t.Helper()
	return v.arrivals(t, s, s.addr())
}
