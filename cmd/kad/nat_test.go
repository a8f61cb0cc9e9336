package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// A machine behind a NAT pings another one behind a NAT by its peer ID alone, and ping
// prints the path of their packets.
func TestPingBetweenNATs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	kad := command(t)
	at := func(h *natlab.Host) *inLAN {
		return &inLAN{t, h, kad, filepath.Join(t.TempDir(), h.Name()), nil}
	}
	join := ""
	for _, name := range []string{"public-1", "public-2", "public-3", "public-4"} {
		p := at(lab.Public(name))
		if join == "" {
			p.up()
			join = "/ip4/" + p.host.IP4().String() + "/udp/4774/quic-v1/p2p/" + p.id()
			continue
		}
		p.up("--bootstrap", join)
	}
	home := func(name string, kind natlab.Kind) *inLAN {
		r := at(lab.Home(name, kind))
		r.up("--bootstrap", join)
		return r
	}
	callees := map[natlab.Kind]*inLAN{}
	for _, k := range []natlab.Kind{natlab.PortRestricted, natlab.LinuxOpen, natlab.Symmetric, natlab.FullCone} {
		callees[k] = home(k.String()+"-callee", k)
	}
	callers := map[natlab.Kind]*inLAN{}
	for _, k := range []natlab.Kind{natlab.PortRestricted, natlab.Linux, natlab.Symmetric, natlab.SymmetricSequential} {
		callers[k] = home(k.String()+"-caller", k)
	}
	for _, r := range callees {
		for deadline := time.Now().Add(patience); r != callees[natlab.FullCone] && !strings.Contains(r.run("status"), "\nrelay "); {
			if time.Now().After(deadline) {
				t.Fatalf("%s has no relay:\n%s", r.host.Name(), r.run("status"))
			}
		}
	}
	for _, c := range []struct {
		from, to natlab.Kind
		straight bool
	}{
		{natlab.PortRestricted, natlab.PortRestricted, true},
		{natlab.Linux, natlab.LinuxOpen, true},
		{natlab.Symmetric, natlab.FullCone, true},
		{natlab.SymmetricSequential, natlab.PortRestricted, true}, // prediction
		{natlab.Symmetric, natlab.PortRestricted, true},           // birthday
		{natlab.Symmetric, natlab.Symmetric, false},
	} {
		what := c.from.String() + " to " + c.to.String()
		args := []string{"--json", "ping", callees[c.to].id()}
		if !c.straight {
			args = append(args, "-c", "3")
		}
		var out string
		var last struct {
			Path      struct{ Kind, Relay string }
			Connected float64 `json:"connected_ms"`
			Direct    float64 `json:"direct_ms"`
		}
		for deadline := time.Now().Add(patience); ; { // the callee's record may be on its way still, or the path
			b, err := callers[c.from].command(args...).Output()
			out = strings.TrimSpace(string(b))
			if err == nil {
				lines := strings.Split(out, "\n")
				err = json.Unmarshal([]byte(lines[len(lines)-1]), &last)
			}
			if err == nil && (last.Path.Kind != "relayed") == c.straight {
				break
			}
			if time.Now().After(deadline) {
				var stderr []byte
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
					stderr = exit.Stderr
				}
				t.Fatalf("%s: %v: %s%s", what, err, out, stderr)
			}
		}
		t.Logf("%-32s connected after %.0f ms, direct after %.0f ms: %s", what, last.Connected, last.Direct, last.Path.Kind)
		if !c.straight && last.Path.Relay == "" {
			t.Errorf("%s: nobody relays: %s", what, out)
		}
	}
}

// id is the peer ID of the daemon.
func (r *inLAN) id() string {
	text, _ := r.daemon.out.state()
	return regexp.MustCompile(`peer ID  (\w+)`).FindStringSubmatch(text)[1]
}
