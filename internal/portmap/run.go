package portmap

import (
	"context"
	"fmt"
	"time"
)

// Run gets a mapping and keeps it until ctx ends. Run does not delete the mapping: see
// Release.
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

// Release deletes the mapping. Call it after Run; it returns within 2 seconds.
func (m *Mapper) Release() {
	if m.by == nil || !m.requested {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxRelease)
	defer cancel()
	mapping := m.State().Mapping
	if err := m.by.unmap(ctx, m.wish(mapping)); err != nil {
		m.config.Logger.Info("cannot delete the port mapping; it stays until it expires", "mapping", mapping, "err", err)
	}
	m.drop("the mapping was deleted")
}

// step runs the work that is due.
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

// moved resets the state for another network. The mapping on the previous one expires.
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
