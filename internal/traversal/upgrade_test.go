package traversal

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A new relay is a reason to call a peer again at once, and memory is bounded.
func TestUpgrades(t *testing.T) {
	var u upgrades
	now := time.Now()
	id, other := wire.PeerID{1}, wire.PeerID{2}
	one, two := []wire.PeerID{{3}}, []wire.PeerID{{3}, {4}}
	if !u.begin(id, one, now) || u.begin(id, two, now) || !u.begin(other, one, now) {
		t.Error("one call at a time to each peer")
	}
	u.failed(id, one, now)
	if u.begin(id, one, now.Add(minUpgradePause-1)) || !u.begin(id, two, now) {
		t.Error("after a failure a relay must be new")
	}
	u.failed(id, nil, now) // given up
	if u.begin(id, one, now) || !u.begin(id, one, now.Add(minUpgradePause)) {
		t.Error("a call that was given up is no failure")
	}
	u.done(id)
	if _, left := u.byPeer[id]; left || !u.begin(id, one, now) {
		t.Error("a success is remembered as a failure")
	}
	for range 20 {
		u.failed(id, one, now)
	}
	if got := u.byPeer[id].retryAt.Sub(now); got != maxUpgradePause {
		t.Errorf("after many failures, the pause is %v", got)
	}
	for i := range 2 * maxUpgrades {
		peer := wire.PeerID{5, byte(i), byte(i >> 8)}
		if u.begin(peer, one, now) {
			u.failed(peer, one, now)
		}
	}
	if len(u.byPeer) != maxUpgrades || !u.begin(wire.PeerID{6}, one, now.Add(maxUpgradePause)) || len(u.byPeer) > 3 {
		t.Errorf("%d peers are remembered", len(u.byPeer))
	}
}
