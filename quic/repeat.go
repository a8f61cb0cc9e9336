package quic

import "time"

// # Repeating what a broken path has lost
//
// When a path breaks, packets are lost until it is found to be quiet, and then for a
// round trip more: a relay does not know the new address of a peer whose NAT has
// rebooted before that peer has sent something. QUIC sends them again after probe
// timeouts that double (RFC 9002 §6.2.1), so a gap of 0.6 s becomes one of 1.7, 3.4 or
// 6.8 s. A route therefore keeps the last packets that nothing has come after. They go
// by relay when the path becomes quiet, and are repeated there a few times. The peer
// takes each once.

const (
	maxKept   = 8               // packets of a route; further ones are not kept
	repeatFor = 3 * time.Second // after the path became quiet, packets by relay are repeated
)

// repeatAfter are the times after which a packet is repeated, each since the one before.
var repeatAfter = [...]time.Duration{100 * time.Millisecond, 150 * time.Millisecond, 250 * time.Millisecond}

// A kept packet is one that may have been lost.
type kept struct {
	b     []byte
	times int       // that it went by relay
	due   time.Time // when it is repeated, if times > 0
}

// keep keeps a copy of a packet that is sent now; with r.mu held.
func (r *route) keep(now time.Time, packet []byte, relayed bool) {
	if len(r.kept) >= maxKept {
		return
	}
	if r.kept == nil {
		r.kept = make([]kept, 0, maxKept)
	}
	r.kept = r.kept[:len(r.kept)+1] // the buffers of earlier packets are used again
	k := &r.kept[len(r.kept)-1]
	*k = kept{b: append(k.b[:0], packet...)}
	if relayed {
		k.times, k.due = 1, now.Add(repeatAfter[0])
	}
}

// dueRepeats returns copies of the packets to be sent by relay now, and when there are
// more, if ever; with r.mu held.
func (r *route) dueRepeats(now time.Time) (due [][]byte, next time.Time) {
	n := 0
	for i := range r.kept {
		k := &r.kept[i]
		if k.times == 0 || !now.Before(k.due) {
			due = append(due, append([]byte(nil), k.b...))
			k.times++
			if k.times <= len(repeatAfter) {
				k.due = now.Add(repeatAfter[k.times-1])
			}
		}
		if k.times > len(repeatAfter) {
			continue
		}
		if next.IsZero() || k.due.Before(next) {
			next = k.due
		}
		r.kept[n], r.kept[i] = r.kept[i], r.kept[n]
		n++
	}
	r.kept = r.kept[:n]
	return due, next
}

// repeat sends by relay what the path has lost, now and until it is enough.
func (p *paths) repeat(r *route) {
	now := time.Now()
	r.mu.Lock()
	if !r.repeats(now) {
		r.kept = r.kept[:0]
		r.mu.Unlock()
		return
	}
	due, next := r.dueRepeats(now)
	switch {
	case next.IsZero():
	case r.again == nil:
		r.again = time.AfterFunc(next.Sub(now), func() { p.repeat(r) })
	default:
		r.again.Reset(next.Sub(now))
	}
	r.mu.Unlock()
	for _, b := range due {
		p.c.Relay(r.key, b)
	}
}

// repeats reports whether what is sent may be lost and is repeated; with r.mu held.
func (r *route) repeats(now time.Time) bool {
	return !r.lost.IsZero() && now.Sub(r.lost) < repeatFor
}
