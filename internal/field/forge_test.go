package field

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// A forgery describes an attempt to make others send to a stranger, whose addresses an
// intruder gives as its own.
type forgery struct {
	How      string // one of forgeries
	Padding  int
	Mapping  wire.Mapping
	Birthday bool
	Credit   int // datagrams of it
}

// forge makes Count attempts at once, through the node at Addrs[0]. The other addresses are
// the stranger's.
func (p *program) forge(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil && o.Peer != "" {
		return nil, err
	}
	addrs, err := strangersAddrs(o)
	if err != nil {
		return nil, err
	}
	why := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range o.Count {
		wg.Go(func() {
			err := cmp.Or(forgeries[o.Forgery.How](ctx, o, id, addrs), errors.New("no complaint"))
			mu.Lock()
			defer mu.Unlock()
			why[err.Error()]++
		})
	}
	wg.Wait()
	return why, nil
}

func strangersAddrs(o order) (addrs []wire.Addr, err error) {
	for _, text := range o.Addrs[1:] {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, wire.AddrFrom(a))
	}
	return addrs, nil
}

var forgeries = map[string]func(context.Context, order, wire.PeerID, []wire.Addr) error{
	"call": forgeCall, "handshake": forgeHandshake, "dial back": forgeDialBack,
}

// introduce signs a candidate offer of the intruder that names the stranger's addresses.
func (f forgery) introduce(x *intruder, to wire.PeerID, reply [32]byte, addrs []wire.Addr) []byte {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil
	}
	return wire.CandidateOffer{
		To: to, Key: [32]byte(key.PublicKey().Bytes()), Reply: reply, At: time.Now(),
		Addrs: addrs, Mapping: f.Mapping, Birthday: f.Birthday,
	}.Sign(x.key)
}

// burn sends credit.
func (f forgery) burn(x *intruder, to wire.PeerID) {
	credit := relay.Datagram{Kind: relay.Credit, Peer: to, Content: make([]byte, 1000)}.Append(nil)
	for range f.Credit {
		for !x.conn.SendDatagram(credit) && x.conn.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// forgeCall calls a peer, and sends nothing afterwards.
func forgeCall(ctx context.Context, o order, to wire.PeerID, addrs []wire.Addr) error {
	x, err := intrude(ctx, o.Addrs[0], nil)
	if err != nil {
		return err
	}
	defer x.transport.Close()
	_, err = x.ask(ctx, wire.Call{Peer: to, Offer: o.Forgery.introduce(x, to, [32]byte{}, addrs), Padding: o.Forgery.Padding})
	if err != nil {
		return err
	}
	o.Forgery.burn(x, to)
	return linger(ctx, o)
}

// linger waits For while the other peers act.
func linger(ctx context.Context, o order) error {
	select {
	case <-time.After(o.For):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lurk gives an intruder a reservation at a relay. Until the program ends, the intruder
// answers each call with the lie. lurk returns the intruder's ID.
func (p *program) lurk(ctx context.Context, o order) (any, error) {
	addrs, err := strangersAddrs(o)
	if err != nil {
		return nil, err
	}
	var x *intruder
	ready := make(chan struct{})
	x, err = intrude(ctx, o.Addrs[0], func(m wire.Message) wire.Message {
		c, ok := m.(wire.Call)
		if !ok {
			return nil
		}
		<-ready
		intro, err := wire.ParseCandidateOffer(c.Offer)
		if err != nil {
			return nil
		}
		go o.Forgery.burn(x, intro.From)
		return wire.Called{Offer: o.Forgery.introduce(x, intro.From, intro.Key, addrs), Padding: o.Forgery.Padding}
	})
	if err != nil {
		return nil, err
	}
	close(ready)
	if _, err := x.ask(ctx, wire.Reserve{}); err != nil {
		return nil, err
	}
	return x.id.String(), nil
}

// forgeHandshake calls a peer and makes a connection through the relay, whose packets the
// peer may also send to the addresses that the intruder claims. On it, the intruder sends as
// many requests as it can.
func forgeHandshake(ctx context.Context, o order, to wire.PeerID, addrs []wire.Addr) error {
	x, err := intrude(ctx, o.Addrs[0], nil)
	if err != nil {
		return err
	}
	defer x.transport.Close()
	virtual, err := x.transport.Virtual(quic.PublicKey(to))
	if err != nil {
		return err
	}
	_, err = x.ask(ctx, wire.Call{Peer: to, Offer: o.Forgery.introduce(x, to, [32]byte{}, addrs), Padding: o.Forgery.Padding})
	if err != nil {
		return err
	}
	c, err := x.transport.Dial(ctx, virtual, quic.PublicKey(to))
	if err != nil {
		return err
	}
	s, err := c.OpenStream(ctx)
	if err != nil {
		return err
	}
	out := wire.NewWriter(s)
	for id := range uint64(50) {
		if id == 0 {
			err = out.WriteFrame(wire.Frame{Body: wire.Hello{Mode: wire.ModeClient, Clock: time.Now()}})
		} else {
			err = out.WriteFrame(wire.Frame{ID: id, Body: wire.FindNode{Key: to.Key(), Count: wire.MaxContacts}})
		}
		if err != nil {
			return err
		}
	}
	return linger(ctx, o)
}

// forgeDialBack requests a dial-back to the address of the stranger.
func forgeDialBack(ctx context.Context, o order, _ wire.PeerID, addrs []wire.Addr) error {
	x, err := intrude(ctx, o.Addrs[0], nil)
	if err != nil {
		return err
	}
	defer x.transport.Close()
	_, err = x.ask(ctx, wire.DialBack{Addrs: addrs[:min(len(addrs), wire.MaxDialBack)], Padding: o.Forgery.Padding})
	return err
}
