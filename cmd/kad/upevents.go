package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// An eventHead begins each JSON object that "kad up" prints.
type eventHead struct {
	Event string    `json:"event"`
	Time  time.Time `json:"time"` // UTC, RFC 3339, to the millisecond
}

func eventNow(name string) eventHead {
	return eventHead{name, time.Now().UTC().Truncate(time.Millisecond)}
}

// logTime is the local date and time as lines of a log begin with it.
func logTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// tell prints one line of the log of "kad up".
func (a *app) tell(format string, args ...any) {
	a.print("%s %s", logTime(time.Now()), fmt.Sprintf(format, args...))
}

// introduce prints who and where the node is, and returns the addresses.
func (a *app) introduce(n *node.Node, p profile) []string {
	addrs := addrStrings(n.Addrs())
	a.object(struct {
		eventHead
		ID      wire.PeerID `json:"id"`
		Key     routing.Key `json:"key"`
		Network string      `json:"network"`
		Addrs   []string    `json:"addrs"`
		Data    string      `json:"data"`
		Version string      `json:"version"`
	}{eventNow("up"), n.ID(), n.Key(), a.network, addrs, p.dir, readBuildInfo().Version})
	a.print("peer ID  %s", n.ID())
	for _, addr := range addrs {
		a.print("address  %s", addr)
	}
	a.print("profile  %s", wire.Printable(p.dir))
	return addrs
}

// addrEvent tells of addresses at which others reach the node, beside those that it was
// introduced with: by relays, say. They are of its ticket as it is now.
func (a *app) addrEvent(t node.Ticket, told []string) {
	fresh := slices.DeleteFunc(addrStrings(t.Addrs), func(addr string) bool { return slices.Contains(told, addr) })
	if len(fresh) == 0 {
		return
	}
	a.object(struct {
		eventHead
		Addrs []string `json:"addrs"`
	}{eventNow("address"), fresh})
	for _, addr := range fresh {
		a.tell("address  %s", addr)
	}
}

// leaving tells that the node is about to end, by a signal.
func (a *app) leaving() {
	a.object(eventNow("leaving"))
	if !a.json {
		a.note("leaving")
	}
}

func (a *app) peerEvent(e node.PeerEvent) {
	j := struct {
		eventHead
		ID    wire.PeerID `json:"id"`
		Addr  string      `json:"addr,omitempty"`
		Peers int         `json:"peers"`
	}{eventNow("peer"), e.Peer, "", e.Peers}
	switch {
	case e.Joined:
	case e.Silent:
		j.Event = "peer silent"
	case e.Back:
		j.Event = "peer back"
	default:
		j.Event = "peer gone"
	}
	if e.Addr != "" {
		j.Addr = e.Addr.String()
	}
	a.object(j)
	a.tell("%s (%d known)", e, e.Peers)
}

// reachEvent tells that others reach the node, or that its mode has changed.
func (a *app) reachEvent(e node.ReachEvent) {
	j := struct {
		eventHead
		Mode  string `json:"mode,omitempty"`
		Why   string `json:"why,omitempty"`
		Addr  string `json:"addr,omitempty"`
		Reach string `json:"reach,omitempty"`
	}{eventHead: eventNow("mode"), Mode: e.Mode.String(), Why: e.Why}
	if e.Mode == node.ModeAuto {
		j.Event, j.Mode, j.Reach = "reach", "", e.Reach.String()
		if e.Addr != "" {
			j.Addr = e.Addr.String()
		}
	}
	a.object(j)
	if e.Mode == node.ModeClient {
		a.tell("%s. What to do about it: kad netcheck%s", oneLine(e.String()), a.dataFlag())
		return
	}
	a.tell("%s", oneLine(e.String()))
}

// joinResult reports the result of joining through --bootstrap. A node that found no
// peer keeps trying.
func (a *app) joinResult(n *node.Node, err error) {
	var nobody *node.BootstrapError
	switch {
	case err == nil:
		peers := n.Stats().Peers
		a.object(struct {
			eventHead
			Peers int `json:"peers"`
		}{eventNow("joined"), peers})
		a.tell("joined the network %s, knows %s", wire.Printable(a.network), plural(peers, "peer"))
	case errors.As(err, &nobody):
		a.fail(fmt.Errorf("%w (the node runs on and goes on trying)", err))
	default:
		a.fail(fmt.Errorf("joining: %w (the node runs on)", err))
	}
}
