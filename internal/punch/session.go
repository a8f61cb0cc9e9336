package punch

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// trying is how long paths are looked for, from when both sides have keys.
	trying = 5 * time.Second
	// patience is how long a caller waits for the callee's answer.
	patience = 10 * time.Second
	// settling is how long a better path may take the place of the first.
	settling = 300 * time.Millisecond

	maxEarly    = 64   // probes kept until there are keys to read them with
	maxSent     = 4096 // PINGs that may still be answered
	maxAnswered = 512  // nonces of the peer's PINGs, each answered once
)

// Config describes a session. Caller is the caller's public key for this call.
type Config struct {
	Caller [32]byte
	Called bool          // we are the callee
	Rand   func() uint64 // must not be predictable
	// Allowance is credit that nobody has paid: what one would send to the peer's
	// addresses if there were no probes.
	Allowance int
	// Via is the socket that probes go by to addresses outside the house: 0, or one
	// that has sent nothing yet, behind a NAT whose next port is foreseen.
	Via int
}

// A Session is one side of the making of a path. Goroutines must not share it.
type Session struct {
	called  bool
	via     int
	rand    func() uint64
	opening direction
	keys    *Keys     // nil until the callee has answered
	begin   time.Time // of probing
	end     time.Time // of looking for paths

	credit     int
	candidates []*candidate
	sent       map[uint64]sent
	order      []uint64 // of sent, oldest first
	answered   map[uint64]struct{}
	forget     []uint64 // of answered, oldest first
	early      []early

	best    *candidate
	settled time.Time // until when a better one may come
	watch   watch

	birthday  birthday
	searchEnd time.Time // of the birthday, at the latest
}

// sent is a PING, or OPEN, that may still be answered.
type sent struct {
	to Endpoint
	at time.Time
}

type early struct {
	via  int
	from netip.AddrPort
	b    [Size]byte
}

// A Sender sends one packet. It must not keep b.
type Sender func(to Endpoint, b []byte)

// NewCall is the caller's session, before the answer: it opens its NAT, from begin on,
// towards the candidates that are known beforehand. Begin is one RTT to the relay after
// the CALL, when the callee has that too at the latest.
func NewCall(c Config, now, begin time.Time, known []netip.AddrPort) (*Session, error) {
	s, err := newSession(c)
	if err != nil {
		return nil, err
	}
	s.begin, s.end = begin, now.Add(patience)
	s.Name(now, false, known...)
	return s, nil
}

// NewAnswer is the callee's session. Begin is now, but for a callee whose ports depend
// on who it sends to: as the caller cannot know them before it has the answer, it
// should not hear from there before that either. An RTT to the relay later is right.
func NewAnswer(c Config, keys Keys, now, begin time.Time) (*Session, error) {
	c.Called = true
	s, err := newSession(c)
	if err != nil {
		return nil, err
	}
	s.keys, s.begin, s.end = &keys, begin, later(begin, now).Add(trying)
	return s, nil
}

func newSession(c Config) (*Session, error) {
	if c.Rand == nil {
		return nil, errors.New("punch: no randomness")
	}
	open, err := opening(c.Caller)
	if err != nil {
		return nil, err
	}
	return &Session{
		called:   c.Called,
		via:      c.Via,
		rand:     c.Rand,
		opening:  open,
		credit:   c.Allowance,
		sent:     make(map[uint64]sent),
		answered: make(map[uint64]struct{}),
	}, nil
}

// IDs are those under which probes for the session come. The caller's has none until
// it is Answered, when it may have come for a while: see Early.
func (s *Session) IDs() []ID {
	var ids []ID
	if s.keys != nil {
		ids = append(ids, s.keys.in.id)
	}
	if s.called {
		ids = append(ids, s.opening.id)
	}
	return ids
}

// Answered gives the caller's session the keys that follow from the callee's answer.
func (s *Session) Answered(now time.Time, keys Keys, send Sender) {
	if s.keys != nil {
		return
	}
	s.keys, s.begin, s.end = &keys, now, later(s.searchEnd, now.Add(trying))
	for _, c := range s.candidates {
		c.due, c.probe = now, 0
	}
	kept := s.early
	s.early = nil
	for _, e := range kept {
		s.Receive(now, e.via, e.from, e.b[:], send)
	}
}

// Name adds candidates that the peer names, in the order in which to probe them.
func (s *Session) Name(now time.Time, guess bool, addrs ...netip.AddrPort) {
	for _, a := range addrs {
		e := Endpoint{s.via, a}
		if rank(a.Addr().Unmap()) == 0 {
			e.Via = 0
		}
		s.add(e, guess, later(now, s.begin))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Pay notes that so many bytes came from the peer by the relay.
func (s *Session) Pay(bytes int) {
	const enough = 1 << 20 // nobody needs more at a time
	s.credit = min(s.credit+bytes, enough)
}

func (s *Session) add(e Endpoint, guess bool, due time.Time) *candidate {
	e.Addr = netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
	if c := s.find(e); c != nil {
		return c
	}
	if !Usable(e.Addr) || len(s.candidates) >= maxCandidates {
		return nil
	}
	c := &candidate{Endpoint: e, guess: guess, due: due}
	s.candidates = append(s.candidates, c)
	return c
}

func (s *Session) find(e Endpoint) *candidate {
	for _, c := range s.candidates {
		if c.Endpoint == e {
			return c
		}
	}
	return nil
}

// Step sends what is due and returns when to call it again; the zero time if that
// never is, unless something comes.
func (s *Session) Step(now time.Time, send Sender) time.Time {
	s.drop(now)
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s.looking(now) {
		for _, c := range s.candidates {
			if !c.due.IsZero() && !c.due.After(now) && c.validated.IsZero() {
				s.ping(now, c.Endpoint, send)
				c.next(now, s.end)
			}
			if c.validated.IsZero() {
				at(c.due)
			}
		}
		at(s.stepBirthday(now, send))
	}
	if s.best != nil {
		at(s.keepAlive(now, send))
	}
	return next
}

// looking reports whether paths are looked for still.
func (s *Session) looking(now time.Time) bool {
	if s.best != nil {
		return now.Before(s.settled) && rank(s.best.Addr.Addr()) > 0
	}
	return now.Before(s.end)
}

// Done reports whether nothing more will come of the session: it has found no path, or
// lost the one that it had.
func (s *Session) Done(now time.Time) bool { return s.best == nil && !now.Before(s.end) }

// ping sends a PING, or before there are keys an OPEN, if there is credit for it.
func (s *Session) ping(now time.Time, to Endpoint, send Sender) {
	if !s.pay(to) {
		return
	}
	nonce := s.rand()
	for s.sent[nonce] != (sent{}) {
		nonce++
	}
	if len(s.order) >= maxSent {
		delete(s.sent, s.order[0])
		s.order = s.order[1:]
	}
	s.sent[nonce] = sent{to, now}
	s.order = append(s.order, nonce)
	var room [Size]byte
	if s.keys == nil {
		send(to, s.opening.append(room[:0], kindOpen, nonce))
		return
	}
	send(to, s.keys.out.append(room[:0], kindPing, nonce))
}

// pay takes the price of a probe from the credit. To a validated address it is free.
func (s *Session) pay(to Endpoint) bool {
	if c := s.find(to); c != nil && !c.validated.IsZero() {
		return true
	}
	price := cost(to.Addr, Size)
	if s.credit < price {
		return false
	}
	s.credit -= price
	return true
}

// drop forgets PINGs that nobody will answer any more.
func (s *Session) drop(now time.Time) {
	n := 0
	for n < len(s.order) && now.Sub(s.sent[s.order[n]].at) > trying {
		delete(s.sent, s.order[n])
		n++
	}
	s.order = s.order[n:]
}
