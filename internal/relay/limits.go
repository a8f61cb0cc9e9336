package relay

import "time"

// Limits bound the work and memory of a relay. A network is an IPv4 /24 or an IPv6 /48. The
// zero value of each field means its default.
type Limits struct {
	// Reservations held at the same time, in total and by one network. If zero, 128 and 8.
	Reservations, NetworkReservations int

	// Lifetime of a reservation that is not renewed. If zero, 1 hour.
	Lifetime time.Duration

	// Flows at the same time: in total, made by callers of one network, and to one callee.
	// Callers of one network can make a quarter of the flows to one callee. If zero, 512, 64
	// and 64.
	Flows, NetworkFlows, PeerFlows int

	// FlowIdle is how long a flow stays without a packet or a call. If zero, 2
	// minutes: longer than a QUIC connection may be silent.
	FlowIdle time.Duration

	// FlowRate and FlowBurst bound the bytes of one flow, both directions together. If zero,
	// 256 KiB a second, which suffices for speech or a photograph in some seconds, and
	// 128 KiB, half a second's worth. A sender in slow start then meets the limit early; with
	// a burst of several seconds it would lose most of a window at once.
	FlowRate, FlowBurst int

	// NetworkRate and NetworkBurst bound the bytes from peers of one network. If
	// zero, 1 MiB a second and 1 MiB.
	NetworkRate, NetworkBurst int

	// Rate and Burst bound the bytes of the whole relay. If zero, 4 MiB a second and 4 MiB. The
	// last quarter of the burst is reserved for flows within an eighth of their own rate, so
	// that file transfers do not disturb conversations.
	Rate, Burst int

	// Calls per second and burst from one network. If zero, 4 and 32.
	NetworkCalls, NetworkCallBurst int

	// Calls per second and burst to one peer. If zero, 8 and 64.
	PeerCalls, PeerCallBurst int
}

// maxEarly is how many datagrams of one peer wait for its call, which they may overtake, and
// maxEarlyAll how many of all peers. earlyLife is how long they wait.
const (
	maxEarly    = 8
	maxEarlyAll = 256
	earlyLife   = time.Second
)

// WithDefaults returns l with every zero field given its documented value.
func (l Limits) WithDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Reservations, 128}, {&l.NetworkReservations, 8},
		{&l.Flows, 512}, {&l.NetworkFlows, 64}, {&l.PeerFlows, 64},
		{&l.FlowRate, 256 << 10}, {&l.FlowBurst, 128 << 10},
		{&l.NetworkRate, 1 << 20}, {&l.NetworkBurst, 1 << 20},
		{&l.Rate, 4 << 20}, {&l.Burst, 4 << 20},
		{&l.NetworkCalls, 4}, {&l.NetworkCallBurst, 32},
		{&l.PeerCalls, 8}, {&l.PeerCallBurst, 64},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.Lifetime == 0 {
		l.Lifetime = time.Hour
	}
	if l.FlowIdle == 0 {
		l.FlowIdle = 2 * time.Minute
	}
	return l
}

// A bucket is a token bucket with one rate and a burst (RFC 2698). The zero value is full at
// its first use.
type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// fill adds the tokens due until now and returns how many there are.
func (b *bucket) fill(now time.Time, rate, burst int) float64 {
	switch d := now.Sub(b.at); {
	case b.at.IsZero():
		b.tokens, b.at = float64(burst), now
	case d > 0:
		b.tokens, b.at = min(b.tokens+d.Seconds()*float64(rate), float64(burst)), now
	}
	return b.tokens
}

// take takes n tokens if the bucket has them.
func (b *bucket) take(now time.Time, rate, burst, n int) bool {
	if b.fill(now, rate, burst) < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}
