package portmap

import (
	"context"
	"errors"
	"time"
)

// keep renews the mapping at half its lifetime, when it is lost, and at each check that
// cannot tell whether it still exists: a renewal restores a lost mapping for one packet.
func (m *Mapper) keep(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, maxSearch)
	defer cancel()
	mapping := m.State().Mapping
	renew := mapping.Lifetime > 0 && !now.Before(m.renewAt)
	if m.doubted.Swap(false) && now.Sub(m.renewed) >= minDoubt {
		renew = true
	}
	if !now.Before(m.checkAt) {
		m.checkAt = now.Add(m.config.check)
		switch err := m.by.check(ctx, mapping); {
		case errors.Is(err, errLost):
			m.config.Logger.Info("the router has lost the port mapping", "mapping", mapping)
			renew = true
		case errors.Is(err, errUntold):
			m.silent, renew = 0, true
		case err != nil && ctx.Err() == nil:
			m.silent++
		default:
			m.silent = 0
		}
	}
	if renew && m.silent < maxSilent {
		err := m.mapPort(ctx)
		if err == nil || ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return
		}
		m.config.Logger.Debug("the router does not renew the port mapping", "mapping", mapping, "err", err)
		var no *ResultError
		if errors.As(err, &no) {
			m.silent = maxSilent
		}
		m.renewAt = now.Add(max(mapping.Expires().Sub(now)/2, lookEvery)) // RFC 6887 §11.2.1
	}
	if over := mapping.Expires(); m.silent >= maxSilent || !over.IsZero() && now.After(over) {
		m.drop("the router has stopped answering")
		m.silent, m.searchAt, m.retry = 0, time.Time{}, firstRetry
		m.search(ctx)
	}
}
