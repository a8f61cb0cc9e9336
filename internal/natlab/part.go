package natlab

import "fmt"

// A Place is a *Host or a *NAT.
type Place interface{ place() *Node }

func (n *Node) place() *Node { return n }

// Part drops all packets between two places on the internet, in both directions, and between the
// hosts behind them. All others still reach both.
func (l *Lab) Part(a, b Place) {
	l.t.Helper()
	one, other := l.partable(a), l.partable(b)
	l.must(l.inet.nft(fmt.Sprintf(`
		table inet %s {
			chain between {
				type filter hook forward priority 0;
				iifname %q oifname %q drop
				iifname %[3]q oifname %[2]q drop
			}
		}
	`, parting(one, other), one.inetDevice(), other.inetDevice())), "part %s from %s", one.name, other.name)
}

// Join undoes Part.
func (l *Lab) Join(a, b Place) {
	l.t.Helper()
	one, other := l.partable(a), l.partable(b)
	l.must(l.inet.nft("delete table inet "+parting(one, other)), "join %s to %s", one.name, other.name)
}

func (l *Lab) partable(p Place) *Node {
	l.t.Helper()
	n := p.place()
	if n.uplink.ends[1].ns != l.inet {
		l.t.Fatalf("natlab: %s is not on the internet itself: part what it is behind", n.name)
	}
	return n
}

func parting(a, b *Node) string {
	return fmt.Sprintf("part_%d_%d", min(a.number, b.number), max(a.number, b.number))
}
