package traversal

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A probeSocket is the socket that sends the probes of a call, and the addresses at which
// peers see it, or are predicted to. The zero value is the node's own socket.
type probeSocket struct {
	port    *quic.Port
	addrs   []netip.AddrPort
	mapping wire.Mapping // of the NAT, for this socket
}

func (s probeSocket) close() {
	if s.port != nil {
		s.port.Close()
	}
}

// callFromNewSocket is Call from an unused socket, for which no NAT on the way has a
// mapping or filter yet.
func (m *Sessions) callFromNewSocket(ctx context.Context, id, relay wire.PeerID) error {
	r, err := m.relays.Connect(ctx, relay)
	if err != nil {
		return fmt.Errorf("relay %s: %w", relay, err)
	}
	var from probeSocket
	if mapping := m.mapping(); mapping != wire.MappingRandom {
		from = m.newProbeSocket(ctx, r.Conn().RemoteAddr(), mapping)
	}
	if err = m.callFrom(ctx, id, r, from, func() {}); err != nil {
		m.reportFailed(id, relay, err)
	}
	return err
}

// callFromPredictedPort makes a second call, from a port that a sequential NAT is
// predicted to assign. Behind an unknown NAT it first finds out the mapping. That takes a
// round trip, for which the first call, whose packets the relay forwards, does not wait.
func (m *Sessions) callFromPredictedPort(ctx context.Context, id wire.PeerID, r Relay) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(callTimeout)
	}
	m.group.Go(func() {
		ctx, cancel := context.WithDeadline(m.group.Context(), deadline)
		defer cancel()
		if m.mapping() == wire.MappingUnknown {
			m.discoverMapping(ctx)
		}
		var from probeSocket
		switch m.mapping() {
		case wire.MappingSequential:
			if from = m.newProbeSocket(ctx, r.Conn().RemoteAddr(), wire.MappingSequential); from.port == nil {
				return
			}
		case wire.MappingRandom:
		default: // a second call would differ in nothing from the first
			return
		}
		if err := m.callFrom(ctx, id, r, from, func() {}); err != nil {
			m.reportFailed(id, r.ID(), err)
		}
	})
}

// newProbeSocket opens an unused socket for a call and learns where peers will see it,
// which takes a round trip to the relay. Behind a sequential NAT it predicts that from where
// another new socket is seen. It returns the zero value if that fails.
func (m *Sessions) newProbeSocket(ctx context.Context, relay netip.AddrPort, mapping wire.Mapping) probeSocket {
	p, err := m.host.Socket().OpenPort()
	if err != nil {
		return probeSocket{}
	}
	s := probeSocket{port: p, mapping: mapping}
	if mapping == wire.MappingSequential {
		s.addrs = m.predictPorts(ctx, relay)
	} else {
		var agree bool
		s.addrs, agree = m.observeTwice(ctx, relay, p)
		switch {
		case mapping == wire.MappingUnknown && agree:
			s.mapping = wire.MappingIndependent
		case mapping == wire.MappingUnknown:
			s.addrs = nil
		}
	}
	if len(s.addrs) == 0 {
		p.Close()
		return probeSocket{}
	}
	return s
}

// observeTwice asks a relay and two observers where they see a socket, until two of them
// agree. Their address then comes first.
func (m *Sessions) observeTwice(ctx context.Context, relay netip.AddrPort, p *quic.Port) (addrs []netip.AddrPort, agree bool) {
	asked := []netip.AddrPort{relay}
	for _, observer := range m.observers() {
		if len(asked) < 3 && reach.NetworkOf(observer.Addr()) != reach.NetworkOf(relay.Addr()) {
			asked = append(asked, observer)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	observed := make(chan netip.AddrPort, len(asked))
	for _, observer := range asked {
		wg.Go(func() {
			at, _ := m.observe(ctx, observer, p.SendProbe)
			observed <- at
		})
	}
	for range asked {
		a := <-observed
		if reach.ScopeOf(a.Addr()) != reach.ScopeGlobal {
			continue
		}
		if i := slices.Index(addrs, a); i >= 0 {
			addrs[0], addrs[i] = addrs[i], addrs[0]
			return addrs, true
		}
		addrs = append(addrs, a)
	}
	return addrs, false
}

// predictPorts asks a relay where it sees an unused socket and returns the ports that a
// sequential NAT assigns next.
func (m *Sessions) predictPorts(ctx context.Context, relay netip.AddrPort) []netip.AddrPort {
	port, err := m.host.Socket().OpenPort()
	if err != nil {
		return nil
	}
	defer port.Close()
	at, ok := m.observe(ctx, relay, port.SendProbe)
	if !ok || !at.Addr().Is4() {
		return nil
	}
	return punch.NextPorts(at, wire.MaxGuess)
}
