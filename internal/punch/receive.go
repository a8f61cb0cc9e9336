package punch

import (
	"net/netip"
	"time"
)

// Receive takes in a probe that came by a socket of ours, and answers it. It reports
// whether the probe is genuine: what is not has no effect.
func (s *Checklist) Receive(now time.Time, via int, from netip.AddrPort, b []byte, send Sender) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !IsUsable(from) || len(b) != Size {
		return false
	}
	e := Endpoint{via, from}
	if s.keys == nil {
		s.bufferProbe(e, b)
		return false
	}
	if s.callee && b[0] == kindOpen {
		_, nonce, ok := s.openDir.open(b)
		if ok {
			s.handlePing(now, e, nonce, send)
		}
		return ok
	}
	kind, nonce, ok := s.keys.in.open(b)
	switch {
	case !ok:
		return false
	case kind == kindPing:
		s.handlePing(now, e, nonce, send)
	case kind == kindPong:
		s.handlePong(now, e, nonce, send)
	default:
		return false
	}
	return true
}

// bufferProbe puts aside a probe for which there are no keys yet. One that has the form of a
// probe may be the callee's, who is faster by the straight way than by the relay.
func (s *Checklist) bufferProbe(e Endpoint, b []byte) {
	if len(s.buffered) < maxBuffered {
		s.buffered = append(s.buffered, bufferedProbe{e.Via, e.Addr, [Size]byte(b)})
	}
}

// handlePing answers a PING or OPEN, where it came from. That may be news of where the peer
// is.
func (s *Checklist) handlePing(now time.Time, from Endpoint, nonce uint64, send Sender) {
	if _, again := s.answered[nonce]; again {
		return
	}
	if len(s.answeredOrder) >= maxAnswered {
		delete(s.answered, s.answeredOrder[0])
		s.answeredOrder = s.answeredOrder[1:]
	}
	s.answered[nonce] = struct{}{}
	s.answeredOrder = append(s.answeredOrder, nonce)
	s.AddCredit(packetCost(from.Addr, Size))

	known := s.candidate(from)
	if s.spend(from) {
		var room [Size]byte
		send(from, s.keys.out.append(room[:0], kindPong, nonce))
	}
	s.search.stopIfFound(from)
	switch {
	case known == nil:
		if known = s.addCandidate(from, false, now); known == nil {
			return
		}
	case known.guess: // not any more
		known.guess, known.probe, known.due = false, 0, now
	case known.due.IsZero() && known.validated.IsZero():
		known.probe, known.due = steps, now
	}
	if known.validated.IsZero() && !known.due.After(now) && s.isRunning(now) {
		s.sendPing(now, from, send)
		known.next(now, s.end)
	}
}

// handlePong takes in a PONG. It validates an address only if it comes from where the
// PING went.
func (s *Checklist) handlePong(now time.Time, from Endpoint, nonce uint64, send Sender) {
	p, ok := s.sent[nonce]
	if !ok {
		return
	}
	if p.to != from { // it is there, but behind something; see whether that answers
		if s.candidate(from) == nil && s.isRunning(now) {
			s.addCandidate(from, false, now)
		}
		return
	}
	delete(s.sent, nonce)
	for i, n := range s.sentOrder {
		if n == nonce {
			s.sentOrder = append(s.sentOrder[:i], s.sentOrder[i+1:]...)
			break
		}
	}
	s.keepalive.heard(now)
	c := s.candidate(from)
	if c == nil {
		if c = s.addCandidate(from, false, now); c == nil {
			c = s.replaceCandidate(from)
		}
	}
	c.rtt = now.Sub(p.at)
	if c.validated.IsZero() {
		c.validated = now
		s.nominate(now, c)
	}
}

// replaceCandidate takes an endpoint in, when there is no room, in the place of another that is
// not the best, and that has not answered if there is such a one.
func (s *Checklist) replaceCandidate(e Endpoint) *candidate {
	at := 0
	for i, c := range s.candidates {
		if c == s.selected {
			continue
		}
		if at = i; c.validated.IsZero() {
			break
		}
	}
	s.candidates[at] = &candidate{Endpoint: e}
	return s.candidates[at]
}

// nominate decides whether a path just validated is the best.
func (s *Checklist) nominate(now time.Time, c *candidate) {
	switch {
	case s.selected == nil:
		s.nominateUntil = now.Add(nominationTime)
	case now.After(s.nominateUntil) || rank(c.Addr.Addr()) >= rank(s.selected.Addr.Addr()):
		return
	}
	s.selected = c
	s.keepalive.reset(now)
}
