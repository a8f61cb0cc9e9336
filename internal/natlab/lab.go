package natlab

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
)

// T is the part of testing.TB that a lab needs.
type T interface {
	Helper()
	Cleanup(func())
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Config describes a lab. The zero value is good for most tests.
type Config struct {
	// Link is the link of every public host and NAT that does not bring its own.
	// A Delay of 20 ms makes 80 ms of round trip between any two of them.
	Link Link
}

// A Lab is an internet that nothing outside it can reach: a router, public hosts, and
// NATs with hosts behind them. Its methods fail the test when they cannot do what they
// are asked, so they belong on the test's goroutine; of its nodes' methods those that
// return an error, and Command, may be used on any.
type Lab struct {
	t     T
	link  Link
	inet  *namespace // the internet: one router that knows every address
	nodes []*Node    // in the order they were made; a node's number is its place, from 1
	nets  []*namespace
}

// New builds a lab with nothing in it. It skips the test, saying why, where a lab
// cannot be built. The lab ends with the test, and every process in it.
func New(t T, config ...Config) *Lab {
	t.Helper()
	if err := usable(); err != nil {
		t.Skipf("natlab cannot run here: %v", err)
	}
	sweep()
	l := &Lab{t: t}
	if len(config) > 0 {
		l.link = config[0].Link
	}
	t.Cleanup(l.end)
	var err error
	l.inet, err = l.newRouter()
	l.must(err, "make the internet")
	l.must(l.inet.ip(`
		addr add %s/32 dev lo
		addr add %s/128 dev lo nodad
	`, inet4, inet6), "make the internet")
	return l
}

// Use lets a subtest build in the lab until it ends: what then fails or lacks a tool fails
// or skips the subtest. Without Use it would end the parent from the subtest's goroutine,
// which package testing reports as a failure. Subtests that run in parallel must not call
// it for the same lab.
func (l *Lab) Use(t T) {
	parent := l.t
	l.t = t
	t.Cleanup(func() { l.t = parent })
}

// usable says why no lab can be built on this machine, or nil. It tries the real
// thing in a namespace that it throws away rather than guess from versions.
var usable = sync.OnceValue(func() error {
	if runtime.GOOS != "linux" {
		return errors.New("needs Linux")
	}
	if err := missingTools("ip", "nft", "nsenter"); err != nil {
		return err
	}
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	defer ns.close()
	if err := ns.beRouter(); err != nil {
		return err
	}
	if err := ns.ip(`
		link add name a type veth peer name b
		link add name c type bridge
		addr add fe80::1/64 dev a nodad
	`); err != nil {
		return err
	}
	rules, err := rulesOf(netip.IPv4Unspecified(), FullCone, Options{Hairpin: true})
	if err != nil {
		return err
	}
	if err := ns.nft(rules); err != nil {
		return err
	}
	return ns.nft(cutRules("a"))
})

func (l *Lab) end() {
	killAllIn(l.nets)
	for _, n := range l.nodes {
		if n.uplink != nil && n.uplink.wire != nil {
			n.uplink.wire.close()
		}
	}
	for _, ns := range l.nets {
		ns.close()
	}
}

// must fails the test when err is not nil.
func (l *Lab) must(err error, format string, args ...any) {
	l.t.Helper()
	if errors.Is(err, errNoTUN) {
		l.t.Skipf("natlab cannot make such a link here: %v", err)
	}
	if err != nil {
		l.t.Fatalf("natlab: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

// newSpace makes a namespace that ends with the lab.
func (l *Lab) newSpace() (*namespace, error) {
	ns, err := newNamespace()
	if err == nil {
		l.nets = append(l.nets, ns)
	}
	return ns, err
}

func (l *Lab) newRouter() (*namespace, error) {
	ns, err := l.newSpace()
	if err != nil {
		return nil, err
	}
	return ns, ns.beRouter()
}

// add gives a node its number.
func (l *Lab) add(n *Node) {
	l.t.Helper()
	for _, other := range l.nodes {
		if other.name == n.name {
			l.t.Fatalf("natlab: a second node of the name %q", n.name)
		}
	}
	if len(l.nodes) == maxNodes {
		l.t.Fatalf("natlab: %s would be node number %d, want at most %d", n.name, maxNodes+1, maxNodes)
	}
	l.nodes = append(l.nodes, n)
	n.lab, n.number = l, len(l.nodes)
}

// String lists the nodes, their addresses, and how a developer runs a command there
// while the lab is up.
func (l *Lab) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tKIND\tIPv4\tIPv6\tTO RUN A COMMAND THERE")
	for _, n := range l.nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\tnsenter --net=%s …\n", n.name, n.kind, orDash(n.ip4), orDash(n.ip6), n.ns.path)
	}
	w.Flush()
	return text.String()
}

func orDash(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}
