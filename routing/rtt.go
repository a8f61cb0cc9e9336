package routing

import "time"

// RTT is a running estimate of a round-trip time, and of how long to wait for
// an answer, as TCP makes it (RFC 6298 §2). The zero RTT has seen nothing yet.
// It is a small value: copy it freely; guard it if goroutines share it.
type RTT struct {
	smoothed, deviation time.Duration
}

// NewRTT returns an estimate that starts from another measurement, such as
// that of a QUIC connection. A smoothed time of 0 gives the zero RTT.
func NewRTT(smoothed, deviation time.Duration) RTT {
	if smoothed <= 0 {
		return RTT{}
	}
	return RTT{smoothed, max(deviation, 0)}
}

// Observe takes in one measured round trip. Those not above zero are ignored.
func (r *RTT) Observe(d time.Duration) {
	if d <= 0 {
		return
	}
	if r.smoothed == 0 {
		r.smoothed, r.deviation = d, d/2 // RFC 6298 §2.2
		return
	}
	off := max(r.smoothed-d, d-r.smoothed)
	r.deviation += (off - r.deviation) / 4 // RFC 6298 §2.3, in this order
	r.smoothed += (d - r.smoothed) / 8
}

// Known reports whether anything was measured.
func (r RTT) Known() bool { return r.smoothed > 0 }

// Smoothed returns the running mean, or 0 if nothing was measured.
func (r RTT) Smoothed() time.Duration { return r.smoothed }

// Deviation returns the running mean deviation.
func (r RTT) Deviation() time.Duration { return r.deviation }

// Timeout returns how long to wait for an answer: the smoothed time and four
// deviations, and 1 second while nothing was measured (RFC 6298 §2.1), at
// least floor and at most ceiling.
func (r RTT) Timeout(floor, ceiling time.Duration) time.Duration {
	t := r.smoothed + 4*r.deviation
	if !r.Known() {
		t = time.Second
	}
	return min(max(t, floor), ceiling)
}
