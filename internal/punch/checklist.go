package punch

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// checkTimeout is how long the checks go on once both sides have keys.
	checkTimeout = 5 * time.Second
	// answerTimeout is how long a caller waits for the callee's answer.
	answerTimeout = 10 * time.Second
	// nominationTime is how long a better path may replace the first one.
	nominationTime = 300 * time.Millisecond

	maxBuffered = 64   // probes kept until there are keys
	maxSent     = 4096 // PINGs without an answer so far
	maxAnswered = 512  // nonces of the peer's PINGs, each answered once
)

// Config describes a checklist.
type Config struct {
	Caller [32]byte
	Callee bool          // this side is the callee
	Rand   func() uint64 // must not be predictable
	// Allowance is credit that the peer has not paid, in bytes: as much as a dial would
	// send to the peer's addresses.
	Allowance int
	// Via is the socket that sends probes to addresses outside the LAN: 0, or an unused
	// one, behind a NAT whose next port is predicted.
	Via int
}

// A Checklist is one side of the connectivity checks of one call. Goroutines must not share
// it.
type Checklist struct {
	callee  bool
	via     int
	rand    func() uint64
	openDir direction
	keys    *Keys     // nil until the callee has answered
	begin   time.Time // of probing
	end     time.Time // of the checks, without a path

	credit        int
	candidates    []*candidate
	sent          map[uint64]sent
	sentOrder     []uint64 // of sent, oldest first
	answered      map[uint64]struct{}
	answeredOrder []uint64 // of answered, oldest first
	buffered      []bufferedProbe

	selected      *candidate
	nominateUntil time.Time // until when a better path may replace selected
	keepalive     keepalive

	search    portSearch
	searchEnd time.Time // of the search, at the latest
}

// sent is a PING or OPEN without an answer so far.
type sent struct {
	to Endpoint
	at time.Time
}

type bufferedProbe struct {
	via  int
	from netip.AddrPort
	b    [Size]byte
}

// NewCaller makes the caller's checklist, before the answer. From begin on it opens the
// caller's NAT towards the known candidates. Begin is one RTT to the relay after the CALL:
// the callee has received that by then.
func NewCaller(c Config, now, begin time.Time, known []netip.AddrPort) (*Checklist, error) {
	l, err := newChecklist(c)
	if err != nil {
		return nil, err
	}
	l.begin, l.end = begin, now.Add(answerTimeout)
	l.AddCandidates(now, false, known...)
	return l, nil
}

// NewCallee makes the callee's checklist. Begin is now, unless the callee's NAT maps
// endpoint-dependently: the caller cannot know the ports before it has the answer, and no
// probe should reach it earlier. Then begin is an RTT to the relay later.
func NewCallee(c Config, keys Keys, now, begin time.Time) (*Checklist, error) {
	c.Callee = true
	l, err := newChecklist(c)
	if err != nil {
		return nil, err
	}
	l.keys, l.begin, l.end = &keys, begin, later(begin, now).Add(checkTimeout)
	return l, nil
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

// IDs returns the IDs of the peer's probes. The caller has none before SetKeys, though
// probes may come earlier: Receive buffers them.
func (l *Checklist) IDs() []ID {
	var ids []ID
	if l.keys != nil {
		ids = append(ids, l.keys.in.id)
	}
	if l.callee {
		ids = append(ids, l.openDir.id)
	}
	return ids
}

// AddCandidates adds candidates of the peer, in the order in which to probe them. A guess is
// a predicted port.
func (l *Checklist) AddCandidates(now time.Time, guess bool, addrs ...netip.AddrPort) {
	for _, a := range addrs {
		e := Endpoint{l.via, a}
		if rank(a.Addr().Unmap()) == 0 {
			e.Via = 0
		}
		l.addCandidate(e, guess, later(now, l.begin))
	}
}

// AddCredit adds credit for bytes that came from the peer through the relay.
func (l *Checklist) AddCredit(bytes int) {
	const enough = 1 << 20 // no search needs more at a time
	l.credit = min(l.credit+bytes, enough)
}

func (l *Checklist) addCandidate(e Endpoint, guess bool, due time.Time) *candidate {
	e.Addr = netip.AddrPortFrom(e.Addr.Addr().Unmap(), e.Addr.Port())
	if c := l.candidate(e); c != nil {
		return c
	}
	if !IsUsable(e.Addr) || len(l.candidates) >= maxCandidates {
		return nil
	}
	c := &candidate{Endpoint: e, guess: guess, due: due}
	l.candidates = append(l.candidates, c)
	return c
}

func (l *Checklist) candidate(e Endpoint) *candidate {
	for _, c := range l.candidates {
		if c.Endpoint == e {
			return c
		}
	}
	return nil
}

// isRunning reports whether the checks for a path, or for a better one, go on.
func (l *Checklist) isRunning(now time.Time) bool {
	if l.selected != nil {
		return now.Before(l.nominateUntil) && rank(l.selected.Addr.Addr()) > 0
	}
	return now.Before(l.end)
}

// Done reports whether the checklist has failed: it has found no path, or lost the one that
// it had.
func (l *Checklist) Done(now time.Time) bool { return l.selected == nil && !now.Before(l.end) }

// sendPing sends a PING, or an OPEN while there are no keys, if there is credit for it.
func (l *Checklist) sendPing(now time.Time, to Endpoint, send Sender) {
	if !l.spend(to) {
		return
	}
	nonce := l.rand()
	for l.sent[nonce] != (sent{}) {
		nonce++
	}
	if len(l.sentOrder) >= maxSent {
		delete(l.sent, l.sentOrder[0])
		l.sentOrder = l.sentOrder[1:]
	}
	l.sent[nonce] = sent{to, now}
	l.sentOrder = append(l.sentOrder, nonce)
	var room [Size]byte
	if l.keys == nil {
		send(to, l.openDir.append(room[:0], kindOpen, nonce))
		return
	}
	send(to, l.keys.out.append(room[:0], kindPing, nonce))
}

// spend takes the cost of a probe from the credit. Probes to a validated address are free.
func (l *Checklist) spend(to Endpoint) bool {
	if c := l.candidate(to); c != nil && !c.validated.IsZero() {
		return true
	}
	price := packetCost(to.Addr, Size)
	if l.credit < price {
		return false
	}
	l.credit -= price
	return true
}

// expireSent forgets PINGs that are too old to be answered.
func (l *Checklist) expireSent(now time.Time) {
	n := 0
	for n < len(l.sentOrder) && now.Sub(l.sent[l.sentOrder[n]].at) > checkTimeout {
		delete(l.sent, l.sentOrder[n])
		n++
	}
	l.sentOrder = l.sentOrder[n:]
}

// A Sender sends one packet. It must not keep b.
type Sender func(to Endpoint, b []byte)

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
