package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/natlab"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// status asks the node of a machine how it does.
func (r *inLAN) status() (s control.Status) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.run("status", "--json")), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// Behind a symmetric NAT an unconfigured node reserves places at three relays, skips nodes
// that do not relay, and names the three in its peer record.
func TestUpIsRelayed(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a network")
	}
	t.Parallel()
	lab := natlab.New(t, natlab.Config{Link: natlab.Link{Delay: 20 * time.Millisecond}})
	kad := command(t)
	at := func(h *natlab.Host) *inLAN {
		return &inLAN{t, h, kad, filepath.Join(t.TempDir(), h.Name()), nil}
	}
	var public []*inLAN
	var boot []string
	for i := range 5 {
		r := at(lab.Public(fmt.Sprintf("public%d", i)))
		args := []string{"--no-lan"}
		if i == 0 {
			args = append(args, "--no-relay")
		}
		r.up(append(args, boot...)...)
		if i == 0 {
			boot = []string{"--bootstrap", fmt.Sprintf("/ip4/%v/udp/%d/quic-v1/p2p/%s", r.host.IP4(), defaultPort, r.status().ID)}
		}
		public = append(public, r)
	}
	alice := at(lab.Home("alice", natlab.Symmetric))
	alice.up(append([]string{"--no-lan"}, boot...)...)

	relays := func() (held []wire.PeerID) {
		for _, r := range alice.status().Relays {
			held = append(held, r.ID)
		}
		return held
	}
	// agreed returns an error while alice and the public nodes disagree on her
	// reservations.
	agreed := func() error {
		held, places := relays(), 0
		if len(held) != 3 {
			return fmt.Errorf("alice has these relays: %v", held)
		}
		for i, r := range public {
			s := r.status()
			places += s.Relaying.Reservations
			if held := slices.Contains(held, s.ID); held != (s.Relaying.Reservations == 1) || held && i == 0 {
				return fmt.Errorf("public %d: relays for alice: %v, %+v", i, held, s.Relaying)
			}
			if len(s.Relays) > 0 {
				return fmt.Errorf("public %d has relays: %+v", i, s.Relays)
			}
		}
		if places != 3 {
			return fmt.Errorf("%d places are held", places)
		}
		return nil
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		err := agreed()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, alice.run("status"))
		}
	}
	// A stranger that knows her key only.
	socket, err := lab.Public("stranger").ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := node.New(node.Config{Mode: node.ModeClient, PacketConns: []net.PacketConn{socket}, Bootstrap: []ma.Multiaddr{ma.StringCast(boot[1])}})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := stranger.Start(t.Context()); err != nil && !errors.Is(err, node.ErrUnreachable) { // it goes on trying
		t.Fatal(err)
	}
	id := alice.status().ID
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		info, held := wire.PeerInfo{}, relays()
		p, err := stranger.FindPeer(t.Context(), id)
		if err == nil && p.Record != nil {
			if info, err = p.Record.Record.PeerInfo(); err == nil && slices.Equal(info.Relays, held) {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("a stranger finds %+v, %v; alice has %v", info, err, held)
		}
	}
	for _, r := range append(public, alice) {
		r.down()
	}
}
