package quic

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A relay that labels a peer's packets as another peer's moves no connection: quic-go
// would follow them to the other route. It does not take over the IDs that the peer
// uses next either.
func TestRelayMislabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 20 * time.Millisecond}
		other := PublicOf(newKey(t).Key)
		var lies atomic.Bool
		var y *Transport
		var away atomic.Int64 // packets for the other
		conf := h.config(t)
		honest := conf.Relay
		conf.Relay = func(to PublicKey, b []byte) {
			if lies.Load() {
				y.Deliver(other, b)
				return
			}
			honest(to, b)
		}
		x := h.start(t, conf, s.listen())
		conf = h.config(t)
		back := conf.Relay
		conf.Relay = func(to PublicKey, b []byte) {
			if to == other { // it is in league with the relay
				away.Add(1)
				x.Deliver(y.PublicKey(), b)
				return
			}
			back(to, b)
		}
		y = h.start(t, conf, s.listen())
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		lies.Store(true)
		_, err := w.Write([]byte("what was said to be another's"))
		check(t, err)
		time.Sleep(2 * time.Second)
		if at := addrPort(d.q.RemoteAddr()); at != y.paths.nameOf(x.PublicKey()) {
			t.Errorf("QUIC follows to %v", at)
		}
		if n := away.Load(); n > 0 {
			t.Errorf("%d packets went to the other", n)
		}
		lies.Store(false)
		_, err = r.Read(make([]byte, 100))
		check(t, err)
		echo(t, w, r)
	})
}
