package traversal

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kadquic/kadquic/wire"
)

// The callee answers a call only if the caller itself made it, to this node, just now, for
// the first time, and not too often.
func TestCallsThatAreNotAnswered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		alice := testKey(77)
		offer := func(change func(*wire.CandidateOffer)) wire.Call {
			key, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			o := wire.CandidateOffer{To: w.id, Key: [32]byte(key.PublicKey().Bytes()), At: time.Now()}
			change(&o)
			return wire.Call{Peer: idOf(alice), Passed: true, Offer: o.Sign(alice), Padding: 100}
		}
		want := func(what string, call wire.Call, want error) {
			t.Helper()
			time.Sleep(2 * time.Second) // within the caller's limit
			if _, err := w.Answer(w.relay, call); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		good := offer(func(*wire.CandidateOffer) {})
		want("a valid call", good, nil)
		want("the same again", good, wire.CodeUnreachable)
		want("for another peer", offer(func(o *wire.CandidateOffer) { o.To = w.relay.ID() }), wire.CodeUnreachable)
		want("an answer", offer(func(o *wire.CandidateOffer) { o.Reply[0] = 1 }), wire.CodeUnreachable)
		want("an old one", offer(func(o *wire.CandidateOffer) { o.At = o.At.Add(-MaxOfferAge - time.Second) }), wire.CodeUnreachable)
		want("one of the future", offer(func(o *wire.CandidateOffer) { o.At = o.At.Add(MaxOfferAge + 10*time.Second) }), wire.CodeUnreachable)
		want("a key of small order", offer(func(o *wire.CandidateOffer) { o.Key = [32]byte{1} }), wire.CodeUnreachable)
		other := offer(func(*wire.CandidateOffer) {})
		other.Peer = w.relay.ID()
		want("from another peer", other, wire.CodeUnreachable)
		want("garbage", wire.Call{Peer: idOf(alice), Offer: []byte("hello")}, wire.CodeUnreachable)
		w.ahead = time.Hour
		want("of now, though the network's clocks are ahead", offer(func(o *wire.CandidateOffer) {}), wire.CodeUnreachable)
		want("of now by the network's clocks", offer(func(o *wire.CandidateOffer) { o.At = o.At.Add(time.Hour) }), nil)
		w.ahead = 0

		busy := 0
		for range 20 {
			if _, err := w.Answer(w.relay, offer(func(*wire.CandidateOffer) {})); errors.Is(err, wire.CodeBusy) {
				busy++
			}
		}
		if busy < 12 {
			t.Errorf("of 20 calls at once, %d are too many", busy)
		}
	})
}

func TestReplayCacheForgets(t *testing.T) {
	var r replayCache
	now := time.Now()
	if !r.add([32]byte{1}, now) || r.add([32]byte{1}, now.Add(MaxOfferAge)) {
		t.Error("a key is new once")
	}
	if !r.add([32]byte{1}, now.Add(3*MaxOfferAge)) || len(r.order) != 1 || len(r.keys) != 1 {
		t.Error("keys are forgotten once their offers are too old")
	}
}

// One relay passes on as many calls as it may, each of another peer, for longer than offers
// are remembered. Callers through another relay are answered, and memory is bounded.
func TestFloodOfCallsThroughOneRelay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		limit := func() *rate.Limiter { return rate.NewLimiter(10, 80) } // of a node for one relay
		bad, good := limit(), limit()
		now, made := time.Now(), 0
		call := func(relay *rate.Limiter) bool {
			made++
			id := wire.PeerID{3, byte(made), byte(made >> 8), byte(made >> 16)}
			return relay.AllowN(now, 1) && w.callLimit.AllowN(now, 1) && w.replays.add(id, now) && w.callers.allow(id, now)
		}
		most := 0
		for second := range 2 * int(replayLife/time.Second) {
			for range 200 {
				call(bad)
			}
			if !call(good) {
				t.Fatalf("after %d s of the flood, a call through another relay is refused", second)
			}
			now = now.Add(time.Second)
			most = max(most, len(w.replays.keys))
		}
		if bound := callBurst + callRate*int(replayLife/time.Second); most > bound || len(w.callers.byPeer) > maxCallers {
			t.Errorf("%d keys are remembered, and %d callers", most, len(w.callers.byPeer))
		}
	})
}
