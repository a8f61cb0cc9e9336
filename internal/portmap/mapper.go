package portmap

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a Mapper.
type Config struct {
	// Port is the UDP port of this machine that is to be reached. Outside the same
	// is asked for.
	Port uint16

	// Local is the address that the port is bound to, if to one alone.
	Local netip.Addr

	// Name is what the router's owner sees in its list. If empty, "kadquic".
	Name string

	// Secret makes a process that is started again, after a crash, know to a PCP
	// router as the one it was. If nil, it is not.
	Secret []byte

	// Changed is called from Run when State().Mapping has changed. If nil, nobody is.
	Changed func(Mapping)

	// Logger receives what an operator may want to know. If nil, silence.
	Logger *slog.Logger

	route  func() (route, error)        // if nil, that of the system
	askers func(route) [protocols]asker // if nil, those that there are
	look   time.Duration                // if zero, lookEvery
	check  time.Duration                // if zero, checkEvery
}

const (
	// lifetime is what is asked for, RFC 6886 §3.3 and RFC 6887 §15.
	lifetime = 2 * time.Hour
	// lookEvery is how soon a move to another network is seen.
	lookEvery = 15 * time.Second
	// checkEvery is how soon it is seen that a router has restarted, or that its rules
	// are gone.
	checkEvery = 2 * time.Minute
	// minDoubt is how long a renewal is not repeated because of Doubt.
	minDoubt = 30 * time.Second
	// maxSilent is how many checks go without an answer before all protocols are
	// asked again.
	maxSilent = 3
	// firstRetry is when routers that map nothing are asked again, the first time;
	// each further time the wait doubles, to maxRetry.
	firstRetry = time.Minute
	maxRetry   = 32 * time.Minute
	// maxSearch bounds one round of asking.
	maxSearch = 10 * time.Second
	// maxRelease bounds Release.
	maxRelease = 2 * time.Second
)

// A Mapper keeps one port mapped. Make it with [New]. State and Doubt may be called from any
// goroutine; Run and Release belong to one.
type Mapper struct {
	config Config
	nonce  [12]byte

	// Of Run and Release.
	route     route
	askers    [protocols]asker
	by        asker // that made the mapping
	renewAt   time.Time
	checkAt   time.Time
	searchAt  time.Time
	retry     time.Duration
	silent    int       // checks without an answer
	requested bool      // by has been asked for a mapping, whatever it said
	renewed   time.Time // when it was asked last

	doubted atomic.Bool   // by Doubt
	wake    chan struct{} // holds one

	mu    sync.Mutex
	state State
}

// State is what a Mapper knows. The zero value is of one that has not looked yet.
type State struct {
	Port    uint16
	Local   netip.Addr // of this machine, towards Gateway
	Gateway netip.Addr
	// Answers is what the gateway said to each protocol, indexed by it.
	Answers [protocols]Answer
	Mapping Mapping
	Why     string // there is no mapping; empty if there is
}

// An Answer is what came of asking by one protocol.
type Answer struct {
	Asked time.Time // zero if never
	Err   error     // nil if the gateway speaks it
}

// New makes a Mapper. It sends nothing.
func New(c Config) *Mapper {
	if c.Name == "" {
		c.Name = "kadquic"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.route == nil {
		c.route = defaultRoute
	}
	if len(c.Secret) == 0 {
		c.Secret = []byte(rand.Text())
	}
	m := &Mapper{config: c, state: State{Port: c.Port, Why: "the router has not been asked yet"}, wake: make(chan struct{}, 1)}
	if c.look == 0 {
		m.config.look = lookEvery
	}
	if c.check == 0 {
		m.config.check = checkEvery
	}
	if c.askers == nil {
		m.config.askers = m.all
	}
	// RFC 6887 §11.2: nobody else can guess it.
	sum := sha256.Sum256(binary.BigEndian.AppendUint16(append([]byte("kadquic portmap nonce\x00"), c.Secret...), c.Port))
	copy(m.nonce[:], sum[:])
	return m
}

// all returns the protocols as one speaks them with a gateway.
func (m *Mapper) all(r route) [protocols]asker {
	at := netip.AddrPortFrom(r.gateway, portPCP)
	return [protocols]asker{
		PCP:    &pcp{local: r.local, gateway: at},
		NATPMP: &pmp{local: r.local, gateway: at},
		UPnP:   &upnp{local: r.local, gateway: netip.AddrPortFrom(r.gateway, ssdpGroup.Port()), group: ssdpGroup, name: m.config.Name},
	}
}

// State returns what is known now.
func (m *Mapper) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Run gets a mapping and keeps it, until ctx ends. It leaves it to the router to end
// it then: see Release.
func (m *Mapper) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			m.step(ctx, time.Now())
			timer.Reset(m.config.look)
		case <-m.wake:
			m.step(ctx, time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// Doubt says that others do not get in by the mapping, whatever the router says: Run asks
// for it again, twice a minute at most. It may be called from any goroutine.
func (m *Mapper) Doubt() {
	m.doubted.Store(true)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Release takes the mapping away, after Run; it returns within 2 seconds.
func (m *Mapper) Release() {
	if m.by == nil || !m.requested {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxRelease)
	defer cancel()
	mapping := m.State().Mapping
	if err := m.by.unmap(ctx, m.wish(mapping)); err != nil {
		m.config.Logger.Info("the router keeps a port mapping for a while", "mapping", mapping, "err", err)
	}
	m.drop("the mapping was taken away")
}

// step does what is due.
func (m *Mapper) step(ctx context.Context, now time.Time) {
	r, err := m.config.route()
	if err != nil {
		m.moved(route{})
		m.drop(err.Error())
		return
	}
	if r != m.route {
		m.moved(r)
	}
	switch {
	case isPublic(r.local):
		m.drop(fmt.Sprintf("no router hides %v: it is public", r.local))
	case m.config.Local.IsValid() && m.config.Local != r.local:
		m.drop(fmt.Sprintf("the port is bound to %v, and the router is reached from %v", m.config.Local, r.local))
	case m.State().Mapping.IsZero():
		if !now.Before(m.searchAt) {
			m.search(ctx)
		}
	default:
		m.keep(ctx, now)
	}
}

// moved begins anew on another network. What was mapped on the one before ends there.
func (m *Mapper) moved(r route) {
	m.route, m.by, m.requested = r, nil, false
	m.searchAt, m.retry, m.silent = time.Time{}, firstRetry, 0
	if r.gateway.IsValid() {
		m.askers = m.config.askers(r)
	}
	m.drop("the router has not been asked yet")
	m.mu.Lock()
	m.state.Local, m.state.Gateway, m.state.Answers = r.local, r.gateway, [protocols]Answer{}
	m.mu.Unlock()
}

// search asks the router by all protocols at once whether it speaks them, and for a
// mapping by the first that it does; by the next, if it refuses.
func (m *Mapper) search(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxSearch)
	defer cancel()
	type probed struct {
		Protocol
		error
	}
	answers := make(chan probed, protocols)
	for p, a := range m.askers {
		go func() { answers <- probed{Protocol(p), a.probe(ctx)} }()
	}
	var refused error
	for range protocols {
		a := <-answers // each ends with ctx
		m.mu.Lock()
		m.state.Answers[a.Protocol] = Answer{time.Now(), a.error}
		m.mu.Unlock()
		if a.error != nil || !m.State().Mapping.IsZero() {
			continue
		}
		m.by = m.askers[a.Protocol]
		if err := m.mapPort(ctx); err != nil {
			m.config.Logger.Debug("the router maps no port", "protocol", a.Protocol, "err", err)
			refused = errors.Join(refused, err)
		}
	}
	if m.State().Mapping.IsZero() && ctx.Err() == nil {
		m.searchAt = time.Now().Add(m.retry)
		m.retry = min(2*m.retry, maxRetry)
		if refused != nil {
			m.drop(refused.Error())
		} else {
			m.drop(fmt.Sprintf("the router %v speaks neither PCP nor NAT-PMP nor UPnP, or is told not to", m.route.gateway))
		}
	}
}

// Spoken are the protocols by which the gateway answered.
func (s State) Spoken() (spoken []Protocol) {
	for p, a := range s.Answers {
		if !a.Asked.IsZero() && a.Err == nil {
			spoken = append(spoken, Protocol(p))
		}
	}
	return slices.Clip(spoken)
}
