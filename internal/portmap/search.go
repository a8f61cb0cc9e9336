package portmap

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// search probes all protocols at once, and requests a mapping by the first that answers;
// by the next one if the router refuses.
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
