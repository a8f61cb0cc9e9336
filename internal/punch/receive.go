package punch

import (
	"net/netip"
	"time"
)

// Receive handles a probe that one of our sockets received, and answers it. It reports
// whether the probe is genuine; a forged one has no effect.
func (l *Checklist) Receive(now time.Time, via int, from netip.AddrPort, b []byte, send Sender) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !IsUsable(from) || len(b) != Size {
		return false
	}
	e := Endpoint{via, from}
	if l.keys == nil {
		l.bufferProbe(e, b)
		return false
	}
	if l.callee && b[0] == kindOpen {
		_, nonce, ok := l.openDir.open(b)
		if ok {
			l.handlePing(now, e, nonce, send)
		}
		return ok
	}
	kind, nonce, ok := l.keys.in.open(b)
	switch {
	case !ok:
		return false
	case kind == kindPing:
		l.handlePing(now, e, nonce, send)
	case kind == kindPong:
		l.handlePong(now, e, nonce, send)
	default:
		return false
	}
	return true
}

// bufferProbe keeps a probe until there are keys. It may be the callee's: the direct path is
// faster than the relay.
func (l *Checklist) bufferProbe(e Endpoint, b []byte) {
	if len(l.buffered) < maxBuffered {
		l.buffered = append(l.buffered, bufferedProbe{e.Via, e.Addr, [Size]byte(b)})
	}
}

// handlePing answers a PING or OPEN. Its source may be a new, peer-reflexive candidate.
func (l *Checklist) handlePing(now time.Time, from Endpoint, nonce uint64, send Sender) {
	if _, again := l.answered[nonce]; again {
		return
	}
	if len(l.answeredOrder) >= maxAnswered {
		delete(l.answered, l.answeredOrder[0])
		l.answeredOrder = l.answeredOrder[1:]
	}
	l.answered[nonce] = struct{}{}
	l.answeredOrder = append(l.answeredOrder, nonce)
	l.AddCredit(packetCost(from.Addr, Size))

	known := l.candidate(from)
	if l.spend(from) {
		var room [Size]byte
		send(from, l.keys.out.append(room[:0], kindPong, nonce))
	}
	l.search.stopIfFound(from)
	switch {
	case known == nil:
		if known = l.addCandidate(from, false, now); known == nil {
			return
		}
	case known.guess: // no longer
		known.guess, known.probe, known.due = false, 0, now
	case known.due.IsZero() && known.validated.IsZero():
		known.probe, known.due = steps, now
	}
	if known.validated.IsZero() && !known.due.After(now) && l.isRunning(now) {
		l.sendPing(now, from, send)
		known.next(now, l.end)
	}
}

// handlePong handles a PONG. It validates an address only if the PING went to that address.
func (l *Checklist) handlePong(now time.Time, from Endpoint, nonce uint64, send Sender) {
	p, ok := l.sent[nonce]
	if !ok {
		return
	}
	if p.to != from { // a NAT translates its address: check that one as well
		if l.candidate(from) == nil && l.isRunning(now) {
			l.addCandidate(from, false, now)
		}
		return
	}
	delete(l.sent, nonce)
	for i, n := range l.sentOrder {
		if n == nonce {
			l.sentOrder = append(l.sentOrder[:i], l.sentOrder[i+1:]...)
			break
		}
	}
	l.keepalive.reset(now)
	c := l.candidate(from)
	if c == nil {
		if c = l.addCandidate(from, false, now); c == nil {
			c = l.replaceCandidate(from)
		}
	}
	c.rtt = now.Sub(p.at)
	if c.validated.IsZero() {
		c.validated = now
		l.nominate(now, c)
	}
}

// replaceCandidate adds an endpoint in place of another that is not selected: one that is not
// validated, if there is any.
func (l *Checklist) replaceCandidate(e Endpoint) *candidate {
	at := 0
	for i, c := range l.candidates {
		if c == l.selected {
			continue
		}
		if at = i; c.validated.IsZero() {
			break
		}
	}
	l.candidates[at] = &candidate{Endpoint: e}
	return l.candidates[at]
}

// nominate selects a path that was just validated, if it is the first or a better one.
func (l *Checklist) nominate(now time.Time, c *candidate) {
	switch {
	case l.selected == nil:
		l.nominateUntil = now.Add(nominationTime)
	case now.After(l.nominateUntil) || rank(c.Addr.Addr()) >= rank(l.selected.Addr.Addr()):
		return
	}
	l.selected = c
	l.keepalive.reset(now)
}

// SetKeys gives the caller's checklist the keys that follow from the callee's answer.
func (l *Checklist) SetKeys(now time.Time, keys Keys, send Sender) {
	if l.keys != nil {
		return
	}
	l.keys, l.begin, l.end = &keys, now, later(l.searchEnd, now.Add(checkTimeout))
	for _, c := range l.candidates {
		c.due, c.probe = now, 0
	}
	kept := l.buffered
	l.buffered = nil
	for _, e := range kept {
		l.Receive(now, e.via, e.from, e.b[:], send)
	}
}
