package node

import (
	"time"

	"github.com/kadquic/kadquic/wire"
)

// serve handles one frame of the peer. It answers FIND in the goroutine that reads; STORE waits for the
// store's writer, so that its fsync never delays a lookup. It ignores frames that are not
// requests. An error ends the link.
func (l *link) serve(f wire.Frame, invalid *wire.InvalidError) error {
	n := l.node
	now := time.Now()
	tooMany := l.requests != nil && !l.requests.AllowN(now, 1)
	switch m := f.Body.(type) {
	case wire.Observed:
		if !tooMany && !l.isDialBackProbe() {
			n.observed(l, m.Addr)
		}
		return nil
	case wire.Hello:
		if !tooMany && !l.isDialBackProbe() { // it costs a signature
			n.hello(l, m, now)
		}
		return nil
	}
	if !f.IsRequest() {
		return nil
	}
	l.conn.Touch() // a request counts as use of the connection
	if tooMany {
		return l.Refuse(f.ID, wire.CodeBusy, "too many requests")
	}
	if invalid != nil {
		return l.Refuse(f.ID, invalid.Code, invalid.Reason)
	}
	if l.IsServer() {
		n.heardFrom(l, now)
	}
	n.served.count(f.Body)
	if handled, err := n.responder.Serve(asker{l}, f.ID, f.Body, now); handled {
		return err
	}
	switch m := f.Body.(type) {
	case wire.Ping:
		return l.Reply(f.ID, wire.Pong{})
	case wire.DialBack:
		return l.serveDialBack(f.ID, m, now)
	case wire.Reserve:
		return n.relay.HandleReserve(relayLink{l}, f.ID, m, now)
	case wire.Call:
		if m.Passed {
			return n.relays.HandleCall(relayLink{l}, f.ID, m, now)
		}
		return n.relay.HandleCall(relayLink{l}, f.ID, m, now)
	default:
		return l.Refuse(f.ID, wire.CodeUnimplemented, "")
	}
}

func (l *link) Reply(id uint64, m wire.Message) error {
	return l.rpc.Send(wire.Frame{ID: id, Body: m})
}

func (l *link) Refuse(id uint64, code wire.Code, why string) error {
	return l.Reply(id, wire.Error{Code: code, Message: why})
}
