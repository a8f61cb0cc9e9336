package portmap

import (
	"context"
	"net/netip"
	"time"
)

// wish returns the request for the router. It asks for the previous mapping, if any.
func (m *Mapper) wish(before Mapping) wish {
	w := wish{
		inside:   netip.AddrPortFrom(m.route.local, m.config.Port),
		outside:  before.Outside,
		lifetime: lifetime,
		nonce:    m.nonce,
	}
	if before.IsZero() {
		w.outside = netip.AddrPortFrom(netip.IPv4Unspecified(), m.config.Port)
	}
	return w
}

// mapPort requests or renews the mapping.
func (m *Mapper) mapPort(ctx context.Context) error {
	m.requested, m.renewed = true, time.Now()
	mapping, err := m.by.mapPort(ctx, m.wish(m.State().Mapping))
	if err != nil {
		return err
	}
	m.renewAt = mapping.Since.Add(mapping.Lifetime / 2)
	m.checkAt = mapping.Since.Add(m.config.check)
	m.retry, m.silent = firstRetry, 0
	m.set(mapping, "")
	return nil
}

func (m *Mapper) drop(why string) { m.set(Mapping{}, why) }

func (m *Mapper) set(mapping Mapping, why string) {
	m.mu.Lock()
	before := m.state.Mapping
	m.state.Mapping, m.state.Why = mapping, why
	m.mu.Unlock()
	if before.Outside == mapping.Outside && before.Protocol == mapping.Protocol {
		return
	}
	m.config.Logger.Info("port mapping", "is", mapping, "why", why)
	if m.config.Changed != nil {
		m.config.Changed(mapping)
	}
}
