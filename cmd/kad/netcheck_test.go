package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/natlab"
	"github.com/kadquic/kadquic/node"
)

var idLine = regexp.MustCompile(`peer ID  (\w+)`)

// publicNetwork starts a network of public nodes and returns how to join it.
func publicNetwork(t *testing.T, lab *natlab.Lab, kad string, nodes int) (bootstrap string) {
	t.Helper()
	var all []*inLAN
	for i := range nodes {
		host := lab.Public(fmt.Sprint("public", i))
		r := &inLAN{t, host, kad, filepath.Join(t.TempDir(), host.Name()), nil}
		args := []string{"--no-lan", "--no-portmap"}
		if i > 0 {
			args = append(args, "--bootstrap", bootstrap)
		}
		r.up(args...)
		if i == 0 {
			id := r.daemon.wait(t, &r.daemon.out, idLine)[1]
			bootstrap = fmt.Sprintf("/ip4/%v/udp/%d/quic-v1/p2p/%s", host.IP4(), defaultPort, id)
		}
		all = append(all, r)
	}
	for _, r := range all[1:] {
		r.await(`joined the network`)
	}
	return bootstrap
}

// netcheck is what "kad netcheck" says of a node that runs.
func (r *inLAN) netcheck(args ...string) (c control.Netcheck) {
	r.t.Helper()
	out, err := r.command(append([]string{"netcheck", "--json"}, args...)...).Output()
	if err != nil {
		r.t.Fatalf("netcheck: %v", err)
	}
	if err := json.Unmarshal(out, &c); err != nil {
		r.t.Fatalf("netcheck: %v\n%s", err, out)
	}
	return c
}

// finds waits until netcheck says so, and returns how long that took.
func (r *inLAN) finds(what string, cond func(control.Netcheck) bool) (control.Netcheck, time.Duration) {
	r.t.Helper()
	for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		c := r.netcheck()
		if cond(c) {
			return c, time.Since(start)
		}
		if time.Since(start) > patience {
			log, _ := r.daemon.err.state()
			b, _ := json.MarshalIndent(c, "", "  ")
			r.t.Fatalf("%s does not find within %v that it is %s:\n%s\n%s", r.host.Name(), patience, what, b, log)
		}
	}
}

// The NAT in front of a node decides its mode, which it knows within seconds.
func TestNodesFindOutWhereTheyAre(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	kad := command(t)
	bootstrap := publicNetwork(t, lab, kad, 5)
	for _, c := range []struct {
		kind        natlab.Kind
		igd         bool
		mode, reach string
		mapping     node.Mapping
		advice      string
	}{
		{natlab.Public, false, "server", "yes", node.MappingNone, "Nothing"},
		{natlab.FullCone, false, "server", "yes", node.MappingIndependent, "Nothing"},
		{natlab.PortRestricted, false, "client", "no", node.MappingIndependent, "forward UDP port 4774"},
		{natlab.Symmetric, false, "client", "no", node.MappingRandom, "forward UDP port 4774"},
		{natlab.SymmetricSequential, false, "client", "no", node.MappingSequential, "forward UDP port 4774"},
		{natlab.Symmetric, true, "server", "yes", node.MappingUnknown, "Nothing"},
	} {
		name := strings.ReplaceAll(c.kind.String(), "-", "")
		if c.igd {
			name += "igd"
		}
		t.Run(name, func(t *testing.T) {
			lab.Use(t)
			host := lab.Home(name, c.kind, natlab.Options{IGD: c.igd})
			r := &inLAN{t, host, kad, filepath.Join(t.TempDir(), name), nil}
			r.up("--no-lan", "--bootstrap", bootstrap, "-v")
			suits := func(n control.Netcheck) bool { return n.Mode == c.mode && n.Reach == c.reach }
			found, took := r.finds("a "+c.mode, suits)
			t.Logf("%s: a %s, reachable %s, after %v", name, found.Mode, found.Reach, took.Round(100*time.Millisecond))
			if !c.igd {
				found, _ = r.finds(c.mapping.String(), func(n control.Netcheck) bool { return suits(n) && n.IPv4.Mapping == c.mapping.String() })
			} else {
				found, _ = r.finds("told of at its mapped address", func(n control.Netcheck) bool {
					told := func(a control.OwnAddr) bool { return a.Known == "mapped" && a.Reach == "yes" && a.Told }
					return suits(n) && slices.ContainsFunc(n.Addrs, told)
				})
			}
			r.await(map[string]string{"server": "reached from outside at .*: yes", "client": "a client now: .*kad netcheck"}[c.mode])
			if text := strings.Join(found.Advice, " "); !strings.Contains(text, c.advice) {
				t.Errorf("advice: %q", text)
			}
			if text := r.run("netcheck"); !strings.Contains(text, "mode         "+c.mode) || !strings.Contains(text, "what to do") {
				t.Errorf("for people:\n%s", text)
			} else {
				t.Log("\n" + text)
			}
			r.down()
		})
	}
}

// What users do first: one node that is public, and two homes. Each home is reached by
// that node at once, knows soon that it is a client, says so, and reaches the other.
func TestOnePublicNodeAndTwoHomes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	kad := command(t)
	bootstrap := publicNetwork(t, lab, kad, 1)
	var homes []*inLAN
	for name, kind := range map[string]natlab.Kind{"alice": natlab.Linux, "bob": natlab.PortRestricted} {
		r := &inLAN{t, lab.Home(name, kind), kad, filepath.Join(t.TempDir(), name), nil}
		r.up("--no-lan", "--no-portmap", "--bootstrap", bootstrap, "-v")
		_, took := r.finds("reached by a relay", func(c control.Netcheck) bool { return len(c.Relays) == 1 })
		_, decided := r.finds("a client", func(c control.Netcheck) bool { return c.Mode == "client" && !c.Told && c.Reach == "unknown" })
		t.Logf("%s: a relay after %v, a client %v later", name, took.Round(100*time.Millisecond), decided.Round(100*time.Millisecond))
		text := r.run("netcheck")
		t.Log("\n" + text)
		for _, want := range []string{"probably not", "client: it is behind a NAT", "forward UDP port 4774", "1 relay"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not told %q", name, want)
			}
		}
		homes = append(homes, r)
	}
	for i, r := range homes {
		if text := r.run("ping", homes[1-i].netcheck().ID.String(), "--count", "1"); !strings.Contains(text, "punched") && !strings.Contains(text, "relayed") {
			t.Errorf("one home pings another:\n%s", text)
		}
	}
	for _, r := range homes {
		r.down()
	}
}

// A node that moves behind another NAT finds out how it is reached there.
func TestModesFollowMoves(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t)
	kad := command(t)
	bootstrap := publicNetwork(t, lab, kad, 5)
	open, shut := lab.NAT("open", natlab.FullCone), lab.NAT("shut", natlab.PortRestricted)
	alice := &inLAN{t, lab.Host("alice", open), kad, filepath.Join(t.TempDir(), "alice"), nil}
	alice.up("--no-lan", "--no-portmap", "--bootstrap", bootstrap, "-v")
	alice.finds("reached", func(c control.Netcheck) bool { return c.Mode == "server" && c.Reach == "yes" })
	alice.host.Move(shut)
	c, took := alice.finds("a client", func(c control.Netcheck) bool { return c.Mode == "client" && c.Reach == "no" })
	t.Logf("a client %v after the move", took)
	if outside := c.IPv4.Outside; outside != shut.IP4() {
		t.Errorf("it says that it is at %v, not %v", outside, shut.IP4())
	}
	// Back behind the open NAT it is reached at once by all public nodes, to which it has
	// sent something: none of them can show that strangers get in, too. So it is a server if a stranger was left to
	// try, or a client that says it is one for now.
	alice.host.Move(open)
	c, took = alice.finds("back", func(c control.Netcheck) bool {
		return c.IPv4.Outside == open.IP4() && c.Reach != "no" && (c.Mode == "server" || strings.Contains(c.Why, "for now"))
	})
	t.Logf("a %s %v after the move back: %s", c.Mode, took, c.Why)
	alice.down()
}

// Without a running node on the profile, netcheck starts a temporary one.
func TestNetcheckStartsTemporaryNode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t)
	kad := command(t)
	bootstrap := publicNetwork(t, lab, kad, 5)
	for kind, want := range map[natlab.Kind]string{natlab.Public: "yes", natlab.PortRestricted: "no"} {
		r := &inLAN{t, lab.Home("guest"+want, kind), kad, filepath.Join(t.TempDir(), want), nil}
		var c control.Netcheck
		for deadline := time.Now().Add(patience); c.Reach != want && time.Now().Before(deadline); { // its time is short for a busy machine
			c = r.netcheck("--bootstrap", bootstrap)
		}
		if c.Reach != want || c.Told || len(c.Advice) == 0 {
			t.Errorf("%v: %+v", kind, c)
		}
	}
	cut := lab.Public("cut")
	cut.Cut()
	out, err := (&inLAN{t, cut, kad, t.TempDir(), nil}).command("netcheck", "--bootstrap", bootstrap).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no bootstrap peer answered") || !strings.Contains(string(out), "UDP") {
		t.Errorf("where nothing gets out: %v, %q", err, out)
	}
}
