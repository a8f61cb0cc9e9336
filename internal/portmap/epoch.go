package portmap

import "time"

// An epoch is the router's clock, which restarts when the router has lost its mappings.
// The zero value has seen no answer yet. The caller passes the time.
type epoch struct {
	seconds uint32
	at      time.Time
}

// pcp records the router's clock, and reports whether it has advanced consistently since
// the last answer (RFC 6887 §8.5).
func (e *epoch) pcp(seconds uint32, now time.Time) (ok bool) {
	before := *e
	*e = epoch{seconds, now}
	if before.at.IsZero() {
		return true
	}
	client := int64(now.Sub(before.at) / time.Second)
	server := int64(seconds) - int64(before.seconds)
	return server >= -1 &&
		client+2 >= server-server/16 &&
		server+2 >= client-client/16
}

// pmp does the same by the rule of NAT-PMP (RFC 6886 §3.6): the clock may run fast, or
// slow by an eighth.
func (e *epoch) pmp(seconds uint32, now time.Time) (ok bool) {
	before := *e
	*e = epoch{seconds, now}
	if before.at.IsZero() {
		return true
	}
	expected := int64(before.seconds) + int64(now.Sub(before.at)/time.Second)*7/8
	return int64(seconds)+2 >= expected
}
