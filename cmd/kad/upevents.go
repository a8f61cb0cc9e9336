package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

func (a *app) introduce(n *node.Node, p profile) {
	addrs := addrStrings(n.Addrs())
	a.object(struct {
		Event   string      `json:"event"`
		ID      wire.PeerID `json:"id"`
		Key     routing.Key `json:"key"`
		Network string      `json:"network"`
		Addrs   []string    `json:"addrs"`
		Data    string      `json:"data"`
	}{"up", n.ID(), n.Key(), a.network, addrs, p.dir})
	a.print("peer ID  %s", n.ID())
	for _, addr := range addrs {
		a.print("address  %s", addr)
	}
	a.print("profile  %s", wire.Printable(p.dir))
}

func (a *app) peerEvent(e node.PeerEvent) {
	j := struct {
		Event string      `json:"event"`
		ID    wire.PeerID `json:"id"`
		Addr  string      `json:"addr,omitempty"`
		Peers int         `json:"peers"`
	}{"peer", e.Peer, "", e.Peers}
	if e.Joined {
		j.Addr = e.Addr.String()
	} else {
		j.Event = "peer gone"
	}
	a.object(j)
	a.print("%s %s (%d known)", time.Now().Format(time.TimeOnly), e, e.Peers)
}

// reachEvent tells that others reach the node, or that its mode has changed.
func (a *app) reachEvent(e node.ReachEvent) {
	j := struct {
		Event string `json:"event"`
		Mode  string `json:"mode,omitempty"`
		Why   string `json:"why,omitempty"`
		Addr  string `json:"addr,omitempty"`
		Reach string `json:"reach,omitempty"`
	}{Event: "mode", Mode: e.Mode.String(), Why: e.Why}
	if e.Mode == node.ModeAuto {
		j.Event, j.Mode, j.Reach = "reach", "", e.Reach.String()
		if e.Addr != "" {
			j.Addr = e.Addr.String()
		}
	}
	a.object(j)
	now := time.Now().Format(time.TimeOnly)
	switch {
	case e.Mode == node.ModeAuto:
		a.print("%s %s", now, oneLine(e.String()))
	case e.Mode == node.ModeClient:
		a.print("%s %s. What to do about it: kad netcheck%s", now, oneLine(e.String()), a.dataFlag())
	default:
		a.print("%s %s", now, oneLine(e.String()))
	}
}

// joinResult tells how joining through --bootstrap went. A node that found
// nobody runs on, and goes on trying.
func (a *app) joinResult(n *node.Node, err error) {
	var nobody *node.BootstrapError
	switch {
	case err == nil:
		peers := n.Stats().Peers
		a.object(struct {
			Event string `json:"event"`
			Peers int    `json:"peers"`
		}{"joined", peers})
		a.print("%s joined the network %s, knows %s", time.Now().Format(time.TimeOnly), wire.Printable(a.network), plural(peers, "peer"))
	case errors.As(err, &nobody):
		a.fail(fmt.Errorf("%w (the node runs on and goes on trying)", err))
	default:
		a.fail(fmt.Errorf("joining: %w (the node runs on)", err))
	}
}
