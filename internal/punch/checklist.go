package punch

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// trying is how long paths are looked for, from when both sides have keys.
	checkTimeout = 5 * time.Second
	// patience is how long a caller waits for the callee's answer.
	answerTimeout = 10 * time.Second
	// settling is how long a better path may take the place of the first.
	nominationTime = 300 * time.Millisecond

	maxBuffered = 64   // probes kept until there are keys to read them with
	maxSent     = 4096 // PINGs that may still be answered
	maxAnswered = 512  // nonces of the peer's PINGs, each answered once
)

// Config describes a session. Caller is the caller's public key for this call.
type Config struct {
	Caller [32]byte
	Callee bool          // we are the callee
	Rand   func() uint64 // must not be predictable
	// Allowance is credit that nobody has paid: what one would send to the peer's
	// addresses if there were no probes.
	Allowance int
	// Via is the socket that probes go by to addresses outside the house: 0, or one
	// that has sent nothing yet, behind a NAT whose next port is foreseen.
	Via int
}

// A Checklist is one side of the making of a path. Goroutines must not share it.
type Checklist struct {
	callee  bool
	via     int
	rand    func() uint64
	openDir direction
	keys    *Keys     // nil until the callee has answered
	begin   time.Time // of probing
	end     time.Time // of looking for paths

	credit        int
	candidates    []*candidate
	sent          map[uint64]sent
	sentOrder     []uint64 // of sent, oldest first
	answered      map[uint64]struct{}
	answeredOrder []uint64 // of answered, oldest first
	buffered      []bufferedProbe

	selected      *candidate
	nominateUntil time.Time // until when a better one may come
	keepalive     keepalive

	search    portSearch
	searchEnd time.Time // of the birthday, at the latest
}

// sent is a PING, or OPEN, that may still be answered.
type sent struct {
	to Endpoint
	at time.Time
}

type bufferedProbe struct {
	via  int
	from netip.AddrPort
	b    [Size]byte
}

// A Sender sends one packet. It must not keep b.
type Sender func(to Endpoint, b []byte)

// NewCaller is the caller's session, before the answer: it opens its NAT, from begin on,
// towards the candidates that are known beforehand. Begin is one RTT to the relay after
// the CALL, when the callee has that too at the latest.
func NewCaller(c Config, now, begin time.Time, known []netip.AddrPort) (*Checklist, error) {
	s, err := newChecklist(c)
	if err != nil {
		return nil, err
	}
	s.begin, s.end = begin, now.Add(answerTimeout)
	s.AddCandidates(now, false, known...)
	return s, nil
}

// NewCallee is the callee's session. Begin is now, but for a callee whose ports depend
// on who it sends to: as the caller cannot know them before it has the answer, it
// should not hear from there before that either. An RTT to the relay later is right.
func NewCallee(c Config, keys Keys, now, begin time.Time) (*Checklist, error) {
	c.Callee = true
	s, err := newChecklist(c)
	if err != nil {
		return nil, err
	}
	s.keys, s.begin, s.end = &keys, begin, later(begin, now).Add(checkTimeout)
	return s, nil
}

func newChecklist(c Config) (*Checklist, error) {
	if c.Rand == nil {
		return nil, errors.New("punch: no randomness")
	}
	open, err := openDirection(c.Caller)
	if err != nil {
		return nil, err
	}
	return &Checklist{
		callee:   c.Callee,
		via:      c.Via,
		rand:     c.Rand,
		openDir:  open,
		credit:   c.Allowance,
		sent:     make(map[uint64]sent),
		answered: make(map[uint64]struct{}),
	}, nil
}

// IDs are those under which probes for the session come. The caller's has none until
// it is Answered, when it may have come for a while: see Early.
func (s *Checklist) IDs() []ID {
	var ids []ID
	if s.keys != nil {
		ids = append(ids, s.keys.in.id)
	}
	if s.callee {
		ids = append(ids, s.openDir.id)
	}
	return ids
}

// SetKeys gives the caller's session the keys that follow from the callee's answer.
func (s *Checklist) SetKeys(now time.Time, keys Keys, send Sender) {
	if s.keys != nil {
		return
	}
	s.keys, s.begin, s.end = &keys, now, later(s.searchEnd, now.Add(checkTimeout))
	for _, c := range s.candidates {
		c.due, c.probe = now, 0
	}
	kept := s.buffered
	s.buffered = nil
	for _, e := range kept {
		s.Receive(now, e.via, e.from, e.b[:], send)
	}
}

// AddCandidates adds candidates that the peer names, in the order in which to probe them.
func (s *Checklist) AddCandidates(now time.Time, guess bool, addrs ...netip.AddrPort) {
	for _, a := range addrs {
		e := Endpoint{s.via, a}
		if rank(a.Addr().Unmap()) == 0 {
			e.Via = 0
		}
		s.addCandidate(e, guess, later(now, s.begin))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// AddCredit notes that so many bytes came from the peer by the relay.
func (s *Checklist) AddCredit(bytes int) {
	const enough = 1 << 20 // nobody needs more at a time
	s.credit = min(s.credit+bytes, enough)
}

func (s *Checklist) addCandidate(e Endpoint, guess bool, due time.Time) *candidate {
	e.Addr = netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
	if c := s.candidate(e); c != nil {
		return c
	}
	if !IsUsable(e.Addr) || len(s.candidates) >= maxCandidates {
		return nil
	}
	c := &candidate{Endpoint: e, guess: guess, due: due}
	s.candidates = append(s.candidates, c)
	return c
}

func (s *Checklist) candidate(e Endpoint) *candidate {
	for _, c := range s.candidates {
		if c.Endpoint == e {
			return c
		}
	}
	return nil
}

// Step sends what is due and returns when to call it again; the zero time if that
// never is, unless something comes.
func (s *Checklist) Step(now time.Time, send Sender) time.Time {
	s.expireSent(now)
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if s.isRunning(now) {
		for _, c := range s.candidates {
			if !c.due.IsZero() && !c.due.After(now) && c.validated.IsZero() {
				s.sendPing(now, c.Endpoint, send)
				c.next(now, s.end)
			}
			if c.validated.IsZero() {
				at(c.due)
			}
		}
		at(s.stepSearch(now, send))
	}
	if s.selected != nil {
		at(s.keepAlive(now, send))
	}
	return next
}

// isRunning reports whether paths are looked for still.
func (s *Checklist) isRunning(now time.Time) bool {
	if s.selected != nil {
		return now.Before(s.nominateUntil) && rank(s.selected.Addr.Addr()) > 0
	}
	return now.Before(s.end)
}

// Done reports whether nothing more will come of the session: it has found no path, or
// lost the one that it had.
func (s *Checklist) Done(now time.Time) bool { return s.selected == nil && !now.Before(s.end) }

// sendPing sends a PING, or before there are keys an OPEN, if there is credit for it.
func (s *Checklist) sendPing(now time.Time, to Endpoint, send Sender) {
	if !s.spend(to) {
		return
	}
	nonce := s.rand()
	for s.sent[nonce] != (sent{}) {
		nonce++
	}
	if len(s.sentOrder) >= maxSent {
		delete(s.sent, s.sentOrder[0])
		s.sentOrder = s.sentOrder[1:]
	}
	s.sent[nonce] = sent{to, now}
	s.sentOrder = append(s.sentOrder, nonce)
	var room [Size]byte
	if s.keys == nil {
		send(to, s.openDir.append(room[:0], kindOpen, nonce))
		return
	}
	send(to, s.keys.out.append(room[:0], kindPing, nonce))
}

// spend takes the price of a probe from the credit. To a validated address it is free.
func (s *Checklist) spend(to Endpoint) bool {
	if c := s.candidate(to); c != nil && !c.validated.IsZero() {
		return true
	}
	price := packetCost(to.Addr, Size)
	if s.credit < price {
		return false
	}
	s.credit -= price
	return true
}

// expireSent forgets PINGs that nobody will answer any more.
func (s *Checklist) expireSent(now time.Time) {
	n := 0
	for n < len(s.sentOrder) && now.Sub(s.sent[s.sentOrder[n]].at) > checkTimeout {
		delete(s.sent, s.sentOrder[n])
		n++
	}
	s.sentOrder = s.sentOrder[n:]
}
