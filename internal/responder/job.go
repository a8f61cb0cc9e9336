package responder

import (
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/wire"
)

// A storeJob is one STORE request on its way to the store's writer.
type storeJob struct {
	peer   Peer
	id     uint64
	req    wire.Store
	codes  []wire.Code  // per record; CodeOK until refused
	items  []store.Item // the records that verified
	origin []int        // their places in the request
}
