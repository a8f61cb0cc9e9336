package join

import (
	"context"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// maxMeetings is how many discovered peers are dialled at the same time. A false claim costs one
// slot for the time of a dial, 5 seconds.
const maxMeetings = 8

// meetTimeout bounds the meeting with one discovered peer.
const meetTimeout = time.Minute

// Discover runs the Discovery until ctx ends, and meets the peers that it finds.
func (j *Joiner) Discover(ctx context.Context) {
	err := j.Discovery.Discover(ctx, j.Self, j.listenAddrs, j.onDiscovered)
	if err != nil && ctx.Err() == nil {
		j.Logger.Warn("discovery of nearby peers has ended", "err", err)
	}
}

// listenAddrs are the sockets that a nearby peer may dial to join through this node.
func (j *Joiner) listenAddrs() []netip.AddrPort {
	if !j.Host.IsServer() {
		return nil
	}
	return j.Host.ListenAddrs()
}

// onDiscovered meets a peer that was found nearby, unless it is connected or in the table. When
// too many meetings are under way it does nothing: the peer will be found again.
func (j *Joiner) onDiscovered(id wire.PeerID, at []netip.AddrPort) {
	if id == j.Self || id.IsZero() {
		return
	}
	j.Host.AddNearbyAddrs(id, at)
	if !j.Host.IsConnected(id) && !j.Table.IsLive(id.Key()) {
		j.meetings.TryGo(func() { j.meetNearby(id) })
	}
}

// meetNearby connects to a peer, and joins the network through it if this node has
// none yet. One that failed lately is left alone: if it is back, it finds us.
func (j *Joiner) meetNearby(id wire.PeerID) {
	ctx, cancel := context.WithTimeout(j.Background.Context(), meetTimeout)
	defer cancel()
	isolated := j.IsIsolated()
	p, err := j.Host.Connect(ctx, id)
	if err != nil {
		j.Logger.Info("cannot connect to a nearby peer", "peer", id, "err", err)
		return
	}
	j.Logger.Info("connected to a nearby peer", "peer", id, "addr", p.RemoteAddr())
	if !isolated || !p.IsServer() {
		return
	}
	if err := j.FindPosition(ctx); err != nil {
		j.Logger.Info("cannot join through a nearby peer", "peer", id, "err", err)
	}
}
