package punch

import (
	"net/netip"
	"time"
)

// Receive takes in a probe that came by a socket of ours, and answers it. It reports
// whether the probe is genuine: what is not has no effect.
func (s *Session) Receive(now time.Time, via int, from netip.AddrPort, b []byte, send Sender) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !Usable(from) || len(b) != Size {
		return false
	}
	e := Endpoint{via, from}
	if s.keys == nil {
		s.keep(e, b)
		return false
	}
	if s.called && b[0] == kindOpen {
		_, nonce, ok := s.opening.open(b)
		if ok {
			s.asked(now, e, nonce, send)
		}
		return ok
	}
	kind, nonce, ok := s.keys.in.open(b)
	switch {
	case !ok:
		return false
	case kind == kindPing:
		s.asked(now, e, nonce, send)
	case kind == kindPong:
		s.answer(now, e, nonce, send)
	default:
		return false
	}
	return true
}

// keep puts aside a probe for which there are no keys yet. One that has the form of a
// probe may be the callee's, who is faster by the straight way than by the relay.
func (s *Session) keep(e Endpoint, b []byte) {
	if len(s.early) < maxEarly {
		s.early = append(s.early, early{e.Via, e.Addr, [Size]byte(b)})
	}
}

// asked answers a PING or OPEN, where it came from. That may be news of where the peer
// is.
func (s *Session) asked(now time.Time, from Endpoint, nonce uint64, send Sender) {
	if _, again := s.answered[nonce]; again {
		return
	}
	if len(s.forget) >= maxAnswered {
		delete(s.answered, s.forget[0])
		s.forget = s.forget[1:]
	}
	s.answered[nonce] = struct{}{}
	s.forget = append(s.forget, nonce)
	s.Pay(cost(from.Addr, Size))

	known := s.find(from)
	if s.pay(from) {
		var room [Size]byte
		send(from, s.keys.out.append(room[:0], kindPong, nonce))
	}
	s.birthday.hit(from)
	switch {
	case known == nil:
		if known = s.add(from, false, now); known == nil {
			return
		}
	case known.guess: // not any more
		known.guess, known.probe, known.due = false, 0, now
	case known.due.IsZero() && known.validated.IsZero():
		known.probe, known.due = steps, now
	}
	if known.validated.IsZero() && !known.due.After(now) && s.looking(now) {
		s.ping(now, from, send)
		known.next(now, s.end)
	}
}

// answer takes in a PONG. It validates an address only if it comes from where the
// PING went.
func (s *Session) answer(now time.Time, from Endpoint, nonce uint64, send Sender) {
	p, ok := s.sent[nonce]
	if !ok {
		return
	}
	if p.to != from { // it is there, but behind something; see whether that answers
		if s.find(from) == nil && s.looking(now) {
			s.add(from, false, now)
		}
		return
	}
	delete(s.sent, nonce)
	for i, n := range s.order {
		if n == nonce {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	s.watch.heard(now)
	c := s.find(from)
	if c == nil {
		if c = s.add(from, false, now); c == nil {
			c = s.replace(from)
		}
	}
	c.rtt = now.Sub(p.at)
	if c.validated.IsZero() {
		c.validated = now
		s.choose(now, c)
	}
}

// replace takes an endpoint in, when there is no room, in the place of another that is
// not the best, and that has not answered if there is such a one.
func (s *Session) replace(e Endpoint) *candidate {
	at := 0
	for i, c := range s.candidates {
		if c == s.best {
			continue
		}
		if at = i; c.validated.IsZero() {
			break
		}
	}
	s.candidates[at] = &candidate{Endpoint: e}
	return s.candidates[at]
}

// choose decides whether a path just validated is the best.
func (s *Session) choose(now time.Time, c *candidate) {
	switch {
	case s.best == nil:
		s.settled = now.Add(settling)
	case now.After(s.settled) || rank(c.Addr.Addr()) >= rank(s.best.Addr.Addr()):
		return
	}
	s.best = c
	s.watch.began(now)
}
