package field

import (
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/natlab"
)

// longestGap bounds the gap in a conversation after a change of the network.
const longestGap = 1500 * time.Millisecond

// two starts two peers behind NATs, which begin a conversation with a call. Peers that join
// at the same time may already have a connection that the NATs let in by chance. If the call
// takes long, on a busy machine, the conversation uses that connection, which cannot recover;
// then the peers start again.
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

// ends ends a talk and checks the promise: without a reconnect, the stream noticed no change
// of the network.
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

// The callee goes from one home to another.
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

// The NATs reboot, one after the other, and forget their mappings.
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

// The direct path of a conversation breaks and is repaired: the conversation continues
// through a relay, then directly again.
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

// The relay of a conversation crashes. There is another relay. The promise is that nothing
// is lost and that the gap is no longer than a reconnect.
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

// relayDeath bounds the gap in a conversation when its relay dies.
const relayDeath = 5 * time.Second
