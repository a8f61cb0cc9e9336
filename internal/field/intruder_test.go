package field

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// An intruder is a peer with a separate key and socket, made of packages quic and wire. It
// speaks the protocol but ignores its limits.
type intruder struct {
	key       ed25519.PrivateKey
	id        wire.PeerID
	transport *quic.Transport
	conn      *quic.Conn // to the only node it connects to
	answer    func(wire.Message) wire.Message
	parts     atomic.Uint32 // number of packets relayed
	came      atomic.Int64  // bytes relayed to it

	mu      sync.Mutex // guards out and the fields below
	out     *wire.Writer
	asked   uint64
	waiting map[uint64]chan wire.Message
}

// intrude connects to the node at an address. The given function answers the node's
// requests; if it is nil or returns nil, there is no answer.
func intrude(ctx context.Context, at string, answer func(wire.Message) wire.Message) (*intruder, error) {
	addr, err := ma.NewMultiaddr(at)
	if err != nil {
		return nil, err
	}
	where, id, err := wire.SplitPeer(addr)
	if err != nil {
		return nil, err
	}
	ap, _ := where.AddrPort()
	x := &intruder{answer: answer, waiting: make(map[uint64]chan wire.Message)}
	if x.key, err = quic.GenerateKey(); err != nil {
		return nil, err
	}
	x.id = wire.PeerID(x.key.Public().(ed25519.PublicKey))
	socket, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return nil, err
	}
	x.transport, err = quic.NewTransport(quic.Config{Key: x.key, ALPN: wire.ALPN(networkName), Conn: socket, Relay: x.relayed})
	if err != nil {
		socket.Close()
		return nil, err
	}
	if err := x.meet(ctx, ap, id); err != nil {
		x.transport.Close()
		return nil, err
	}
	return x, nil
}

func (x *intruder) meet(ctx context.Context, at netip.AddrPort, id wire.PeerID) (err error) {
	if x.conn, err = x.transport.Dial(ctx, at, quic.PublicKey(id)); err != nil {
		return err
	}
	stream, err := x.conn.OpenStream(ctx)
	if err != nil {
		return err
	}
	x.out = wire.NewWriter(stream)
	in := wire.NewReader(stream, 0)
	hello := wire.Hello{Mode: wire.ModeClient, Agent: "intruder", Clock: time.Now()}
	if err := x.out.WriteFrame(wire.Frame{Body: hello}); err != nil {
		return err
	}
	stream.SetReadDeadline(time.Now().Add(patience))
	if _, err := in.ReadFrame(); err != nil { // its HELLO
		return err
	}
	stream.SetReadDeadline(time.Time{})
	go x.read(in)
	go x.receive()
	return nil
}

// relayed sends a packet of a connection through the node.
func (x *intruder) relayed(to quic.PublicKey, packet []byte) {
	relay.Send(x.conn, wire.PeerID(to), packet, uint16(x.parts.Add(1)))
}

// receive reads the packets that the node relays.
func (x *intruder) receive() {
	var joiner relay.Joiner
	for {
		b, err := x.conn.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		x.came.Add(int64(len(b)))
		if d, ok := relay.Parse(b); ok {
			if packet, ok := joiner.Add(d); ok {
				x.transport.Deliver(quic.PublicKey(d.Peer), packet)
			}
		}
	}
}

func (x *intruder) read(in *wire.Reader) {
	for {
		f, err := in.ReadFrame()
		if invalid := (*wire.InvalidError)(nil); err != nil && !errors.As(err, &invalid) {
			return
		}
		x.mu.Lock()
		if c := x.waiting[f.ID]; c != nil && !f.IsRequest() {
			delete(x.waiting, f.ID)
			c <- f.Body
		} else if f.IsRequest() && x.answer != nil {
			if m := x.answer(f.Body); m != nil {
				x.out.WriteFrame(wire.Frame{ID: f.ID, Body: m})
			}
		}
		x.mu.Unlock()
	}
}

// ask sends a request and returns its answer; a refusal is an error.
func (x *intruder) ask(ctx context.Context, m wire.Message) (wire.Message, error) {
	reply := make(chan wire.Message, 1)
	x.mu.Lock()
	x.asked++
	x.waiting[x.asked] = reply
	err := x.out.WriteFrame(wire.Frame{ID: x.asked, Body: m})
	x.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		if refused, ok := m.(wire.Error); ok {
			return nil, fmt.Errorf("refused with %v", refused.Code)
		}
		return m, nil
	case <-time.After(patience / 4):
		return nil, errors.New("no answer")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A greed is the result of asking for more than one peer's share.
type greed struct {
	Connected, Reserved int
	Why                 map[string]int // of the rest
}

// reserve asks a relay Count times for a reservation, each time with another identity, and
// keeps the reservations until the program ends.
func (p *program) reserve(ctx context.Context, o order) (any, error) {
	got := greed{Why: make(map[string]int)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, 32)
	for range o.Count {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			x, err := intrude(ctx, o.Addrs[0], nil)
			connected := err == nil
			if connected {
				_, err = x.ask(ctx, wire.Reserve{})
			}
			mu.Lock()
			defer mu.Unlock()
			if connected {
				got.Connected++
			}
			if err != nil {
				got.Why[err.Error()]++
			} else {
				got.Reserved++
			}
		})
	}
	wg.Wait()
	return got, nil
}

// A flood is the result of sending without a rate limit.
type flood struct {
	Rate       int // announced by the relay, in bytes a second
	Sent, Came int // bytes
	Took       time.Duration
}

// flood has one intruder send to another through a relay, as fast as it can, for For.
func (p *program) flood(ctx context.Context, o order) (any, error) {
	b, err := intrude(ctx, o.Addrs[0], func(m wire.Message) wire.Message {
		if _, ok := m.(wire.Call); ok {
			return wire.Called{Offer: []byte("go ahead")}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer b.transport.Close()
	granted, err := b.ask(ctx, wire.Reserve{})
	if err != nil {
		return nil, err
	}
	a, err := intrude(ctx, o.Addrs[0], nil)
	if err != nil {
		return nil, err
	}
	defer a.transport.Close()
	if _, err := a.ask(ctx, wire.Call{Peer: b.id, Offer: []byte("flood")}); err != nil {
		return nil, err
	}
	got := flood{Rate: granted.(wire.Reserved).Rate}
	start := time.Now()
	ctx, cancel := context.WithDeadline(ctx, start.Add(o.For))
	defer cancel()
	packet := relay.Datagram{Kind: relay.Whole, Peer: b.id, Content: make([]byte, 1100)}.Append(nil)
	for ctx.Err() == nil {
		if a.conn.SendDatagram(packet) {
			got.Sent += len(packet)
		} else {
			time.Sleep(100 * time.Microsecond) // its queue is full
		}
	}
	got.Came, got.Took = int(b.came.Load()), time.Since(start)
	return got, nil
}
