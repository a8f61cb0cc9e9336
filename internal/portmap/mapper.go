package portmap

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a Mapper.
type Config struct {
	// Port is the UDP port of this machine to map. The Mapper asks for the same external
	// port.
	Port uint16

	// Local is the address that the port is bound to. If zero, all addresses.
	Local netip.Addr

	// Name describes the mapping in the router's list. If empty, "kadquic".
	Name string

	// Secret derives the PCP nonce, so that a restarted process can renew the mapping
	// that it left after a crash. If nil, the nonce is random.
	Secret []byte

	// Changed is called from Run when State().Mapping has changed. If nil, no call.
	Changed func(Mapping)

	// Logger receives messages for the operator. If nil, the Mapper logs nothing.
	Logger *slog.Logger

	route  func() (route, error)        // if nil, the system's route
	askers func(route) [protocols]asker // if nil, all protocols
	look   time.Duration                // if zero, lookEvery
	check  time.Duration                // if zero, checkEvery
}

const (
	// lifetime is the requested lifetime (RFC 6886 §3.3, RFC 6887 §15).
	lifetime = 2 * time.Hour
	// lookEvery is the interval at which the Mapper checks for a new network.
	lookEvery = 15 * time.Second
	// checkEvery is the interval at which the Mapper checks whether the router has
	// restarted or lost its rules.
	checkEvery = 2 * time.Minute
	// minDoubt is the least time between two renewals because of Doubt.
	minDoubt = 30 * time.Second
	// maxSilent is the number of unanswered checks after which the Mapper probes all
	// protocols again.
	maxSilent = 3
	// firstRetry is the first wait before the Mapper asks again a router that has mapped
	// nothing. The wait doubles each time, up to maxRetry.
	firstRetry = time.Minute
	maxRetry   = 32 * time.Minute
	// maxSearch bounds one round of probes.
	maxSearch = 10 * time.Second
	// maxRelease bounds Release.
	maxRelease = 2 * time.Second
)

// A Mapper keeps one port mapped. Make it with [New]. Any goroutine may call State and
// Doubt; a single goroutine calls Run and then Release.
type Mapper struct {
	config Config
	nonce  [12]byte

	// Owned by Run and Release.
	route     route
	askers    [protocols]asker
	by        asker // made the mapping
	renewAt   time.Time
	checkAt   time.Time
	searchAt  time.Time
	retry     time.Duration
	silent    int       // unanswered checks
	requested bool      // by has sent a request for a mapping, answered or not
	renewed   time.Time // when it sent the last one

	doubted atomic.Bool   // by Doubt
	wake    chan struct{} // holds one

	mu    sync.Mutex
	state State
}

// State describes the router and the mapping. The zero value belongs to a Mapper that has
// not probed yet.
type State struct {
	Port    uint16
	Local   netip.Addr // of this machine, towards Gateway
	Gateway netip.Addr
	// Answers holds the outcome of each protocol's probe, indexed by Protocol.
	Answers [protocols]Answer
	Mapping Mapping
	Why     string // why there is no mapping; empty if there is one
}

// An Answer is the outcome of one protocol's probe.
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
	// The nonce must be hard to guess (RFC 6887 §11.2).
	sum := sha256.Sum256(binary.BigEndian.AppendUint16(append([]byte("kadquic portmap nonce\x00"), c.Secret...), c.Port))
	copy(m.nonce[:], sum[:])
	return m
}

// all returns a client of each protocol for the gateway of r.
func (m *Mapper) all(r route) [protocols]asker {
	at := netip.AddrPortFrom(r.gateway, portPCP)
	return [protocols]asker{
		PCP:    &pcp{local: r.local, gateway: at},
		NATPMP: &pmp{local: r.local, gateway: at},
		UPnP:   &upnp{local: r.local, gateway: netip.AddrPortFrom(r.gateway, ssdpGroup.Port()), group: ssdpGroup, name: m.config.Name},
	}
}

// State returns the current state.
func (m *Mapper) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Doubt reports that peers cannot reach this machine through the mapping, although the
// router claims it. Run then renews it, at most twice a minute. Any goroutine may call
// Doubt.
func (m *Mapper) Doubt() {
	m.doubted.Store(true)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Spoken returns the protocols whose probe the gateway has answered.
func (s State) Spoken() (spoken []Protocol) {
	for p, a := range s.Answers {
		if !a.Asked.IsZero() && a.Err == nil {
			spoken = append(spoken, Protocol(p))
		}
	}
	return slices.Clip(spoken)
}
