package traversal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/punch"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/wire"
)

// randomUint64 draws an unpredictable number.
func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

const (
	maxTransactions = 64                     // binding requests under way
	resendAfter     = 250 * time.Millisecond // requests are lost like any packet
	maxRequests     = 3                      // of one transaction

	// maxObservers is how many servers observe our address to find out the mapping;
	// reach.MinScattered of them must answer. remapAfter is how soon the mapping is looked
	// at again.
	maxObservers = 5
	remapAfter   = 4 * time.Minute
)

// observe sends a node a binding request (RFC 8489) from one of our sockets and returns
// the observed address. It costs a round trip and 27 bytes each way. Hosts on the way can
// forge the response.
func (m *Sessions) observe(ctx context.Context, observer netip.AddrPort, send func(netip.AddrPort, []byte) error) (netip.AddrPort, bool) {
	id, response := randomUint64(), make(chan netip.AddrPort, 1)
	m.mu.Lock()
	full := len(m.transactions) >= maxTransactions
	if !full {
		m.transactions[id] = response
	}
	m.mu.Unlock()
	if full {
		return netip.AddrPort{}, false
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.transactions, id)
	}()
	m.config.Self.MarkContacted(observer, time.Now())
	resend := time.NewTicker(resendAfter)
	defer resend.Stop()
	for range maxRequests {
		if send(observer, punch.AppendBindingRequest(nil, id)) != nil {
			break
		}
		select {
		case at := <-response:
			return at, reach.ScopeOf(at.Addr()) == reach.ScopeGlobal
		case <-resend.C:
		case <-ctx.Done():
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPort{}, false
}

func (m *Sessions) handleBindingResponse(id uint64, at netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if response := m.transactions[id]; response != nil {
		select {
		case response <- at:
		default:
		}
	}
}

// discoverMapping asks servers at different IP addresses where they see us, so that our
// NAT's mapping is known before a call needs it.
func (m *Sessions) discoverMapping(ctx context.Context) {
	socket := m.host.Socket()
	observers := m.observers()
	if len(observers) < reach.MinScattered {
		m.host.FindObservers(ctx)
		observers = m.observers()
	}
	var wg sync.WaitGroup
	for _, observer := range observers {
		wg.Go(func() {
			at, ok := m.observe(ctx, observer, socket.SendProbe)
			if !ok {
				return
			}
			m.config.Self.Vote(observer.Addr(), socket.LocalAddr().Port(), at, time.Now())
		})
	}
	wg.Wait()
}

// observers returns servers at different IPv4 addresses. Those in different networks that
// have proved their keys come first, those that share a network with another last. To a NAT
// each IP address is another destination, whatever its network.
func (m *Sessions) observers() (all []netip.AddrPort) {
	for _, pass := range []struct{ proved, sameNetwork bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		for info := range m.config.Peers.All() {
			for _, a := range info.Addrs {
				ap, ok := a.Addr.AddrPort()
				if !ok || !ap.Addr().Is4() || reach.ScopeOf(ap.Addr()) != reach.ScopeGlobal || a.Failures > 0 ||
					a.Success.IsZero() == pass.proved || info.Mode == wire.ModeClient {
					continue
				}
				same := func(other netip.AddrPort) bool {
					return other.Addr() == ap.Addr() || !pass.sameNetwork && reach.NetworkOf(other.Addr()) == reach.NetworkOf(ap.Addr())
				}
				if len(all) < maxObservers && !slices.ContainsFunc(all, same) {
					all = append(all, ap)
				}
			}
		}
	}
	return all
}

// MonitorMapping discovers how our NAT maps ports, and again whenever that becomes unknown,
// until ctx ends.
func (m *Sessions) MonitorMapping(ctx context.Context) {
	timer := time.NewTimer(200 * time.Millisecond)
	defer timer.Stop()
	wait := 500 * time.Millisecond
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if m.mapping() == wire.MappingUnknown {
			m.discoverMapping(ctx)
		}
		next := remapAfter
		if m.mapping() == wire.MappingUnknown {
			wait = min(2*wait, time.Minute)
			next = wait
		}
		timer.Reset(next)
	}
}
