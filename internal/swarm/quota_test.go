package swarm

import (
	"testing"
	"time"

	"github.com/kadquic/kadquic/wire"
)

// A quota outlives the last connection until all its limiters are full again.
func TestQuotasAreForgotten(t *testing.T) {
	qs := NewQuotas()
	now := time.Now()
	id := func(i int) wire.PeerID { return wire.PeerID{byte(i), byte(i >> 8), 1} }
	a := qs.Acquire(id(0), now)
	if qs.Acquire(id(0), now) != a {
		t.Error("a second connection has a quota of its own")
	}
	qs.Release(id(0), now)
	qs.Release(id(0), now)
	if qs.Acquire(id(0), now.Add(QuotaMemory/2)) != a {
		t.Error("a new connection within QuotaMemory has a new quota")
	}
	qs.Release(id(0), now)
	full := now.Add(QuotaMemory)
	if b := newQuota(); a.Requests.AllowN(now, 200) && a.Stores.AllowN(now, 4<<20) && a.Calls.AllowN(now, 80) &&
		(a.Requests.TokensAt(full) < b.Requests.TokensAt(full) || a.Stores.TokensAt(full) < b.Stores.TokensAt(full) || a.Calls.TokensAt(full) < b.Calls.TokensAt(full)) {
		t.Error("the quota is dropped before it is full again")
	}
	for i := range maxIdleQuotas + 100 {
		qs.Acquire(id(i), now)
		qs.Release(id(i), now)
	}
	if len(qs.of) != maxIdleQuotas || qs.idle != maxIdleQuotas {
		t.Errorf("%d are kept, %d counted", len(qs.of), qs.idle)
	}
	qs.Acquire(id(0), now)
	qs.Release(id(0), now.Add(3*QuotaMemory))
	if len(qs.of) != 1 || qs.idle != 1 {
		t.Errorf("%d are kept after a while, %d counted", len(qs.of), qs.idle)
	}
}
