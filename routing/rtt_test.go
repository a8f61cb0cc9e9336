package routing

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestRTT(t *testing.T) {
	var r RTT
	if r.Known() || r.Timeout(20*ms, 5*time.Second) != time.Second {
		t.Error("RFC 6298 §2.1: until a measurement is made, 1 second")
	}
	r.Observe(100 * ms)
	if r.Smoothed() != 100*ms || r.Deviation() != 50*ms || r.Timeout(0, time.Hour) != 300*ms {
		t.Errorf("§2.2: %+v", r)
	}
	r.Observe(180 * ms) // deviation 3/4·50 + 1/4·80, then mean 7/8·100 + 1/8·180
	if r.Smoothed() != 110*ms || r.Deviation() != 57500*time.Microsecond {
		t.Errorf("§2.3: %+v", r)
	}
	r.Observe(-ms)
	r.Observe(0)
	if r.Smoothed() != 110*ms {
		t.Error("measurements of no time count")
	}
	for range 100 {
		r.Observe(10 * ms)
	}
	if d := r.Timeout(20*ms, time.Second); d != 20*ms {
		t.Errorf("timeout %v of a steady 10 ms, want the floor", d)
	}
	if d := NewRTT(time.Minute, time.Second).Timeout(20*ms, 5*time.Second); d != 5*time.Second {
		t.Errorf("timeout %v, want the ceiling", d)
	}
	if NewRTT(0, time.Second).Known() || NewRTT(ms, -ms) != NewRTT(ms, 0) {
		t.Error("NewRTT takes nonsense")
	}
}
