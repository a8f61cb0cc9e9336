package field

import (
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// longestGap is what a change of the network may cost a conversation.
const longestGap = 1500 * time.Millisecond

// two are two peers behind NATs, who talk. They call: two that join at the same time
// may have met already, by a connection that the NATs have let in by chance. Where it is
// there and a call takes long, on a busy machine, they talk by that one, which cannot be
// mended; then they begin anew.
func (n *network) two(a, b *natlab.Host) *talk {
	n.t.Helper()
	peers := n.peers([]*natlab.Host{a, b}, setting{})
	peers[0].must(order{Do: "learn", Addrs: peers[1].ticket()}, nil)
	for tries := 1; ; tries++ {
		peers[0].must(order{Do: "hang up", Peer: peers[1].ID}, nil)
		k := talks(n.t, peers[0], peers[1])
		if path := k.report(k.caller).Path; !strings.HasPrefix(path, "direct") || tries == 5 {
			return k
		}
		k.end("by a connection that was there")
	}
}

// ends ends a talk and holds it against what is promised: with no reconnect, all that
// happened beneath it was hidden from the stream.
func (k *talk) ends(what string) {
	k.t.Helper()
	caller, callee := k.end(what)
	if caller.Dials != 1 {
		k.t.Errorf("%s: it took %d streams: %q", what, caller.Dials, caller.Errs)
	}
	target(k.t, what+": longest gap", max(caller.Gap, callee.Gap), longestGap)
}

// The caller goes from one home to another.
func TestTalkWhileTheCallerMoves(t *testing.T) {
	n := build(t, 4, far)
	elsewhere := n.NAT("elsewhere", natlab.Linux)
	k := n.two(n.Home("alice", natlab.PortRestricted), n.Home("bob", natlab.Linux))
	k.goesBy("straight", straight)
	k.caller.Move(elsewhere)
	k.goesOn(2 * time.Second)
	k.goesBy("straight", straight)
	k.ends("the caller moves")
}

// And the callee.
func TestTalkWhileTheCalleeMoves(t *testing.T) {
	n := build(t, 4, far)
	elsewhere := n.NAT("elsewhere", natlab.FullCone)
	k := n.two(n.Home("alice", natlab.Linux), n.Home("bob", natlab.PortRestricted))
	k.goesBy("straight", straight)
	k.callee.Move(elsewhere)
	k.goesOn(2 * time.Second)
	k.goesBy("straight", straight)
	k.ends("the callee moves")
}

// The NATs reboot, one after the other, and forget whom they let in.
func TestTalkWhileNATsReboot(t *testing.T) {
	n := build(t, 4, far)
	k := n.two(n.Home("alice", natlab.PortRestricted), n.Home("bob", natlab.Linux))
	for _, p := range []*peer{k.caller, k.callee} {
		k.goesBy("straight", straight)
		p.NAT().Reset()
		k.goesOn(2 * time.Second)
	}
	k.goesBy("straight", straight)
	k.ends("the NATs reboot")
}

// The way between two that talk without a relay breaks, and is mended: they go on by
// relay, and without it again.
func TestTalkByRelayAndBack(t *testing.T) {
	n := build(t, 4, far)
	k := n.two(n.Home("alice", natlab.Linux), n.Home("bob", natlab.Linux))
	for range 2 {
		k.goesBy("straight", straight)
		n.Part(k.caller.NAT(), k.callee.NAT())
		k.goesBy("by relay", func(path string) bool { return !straight(path) })
		k.goesOn(time.Second)
		n.Join(k.caller.NAT(), k.callee.NAT())
	}
	k.goesBy("straight", straight)
	k.goesOn(time.Second)
	k.ends("by relay and back, twice")
}

// The relay that carries a conversation dies with a crash. There is another; what is
// promised is that nothing is lost, and a gap of no more than a reconnect.
func TestTalkWhileTheRelayDies(t *testing.T) {
	n := build(t, 4, far)
	k := n.two(n.Home("alice", natlab.Symmetric), n.Home("bob", natlab.Symmetric))
	k.goesOn(time.Second)
	k.relay(n).crash()
	k.goesOn(2 * time.Second)
	caller, callee := k.end("the relay dies")
	t.Logf("streams: %d", caller.Dials)
	target(t, "the relay dies: longest gap", max(caller.Gap, callee.Gap), relayDeath)
}

// relayDeath is how long a conversation may stand still when its relay dies.
const relayDeath = 5 * time.Second
