package control

import (
	"context"
	"crypto/ed25519"
	"iter"
	"os"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// Options are what Local cannot learn from the node. The zero value works.
type Options struct {
	// Publisher signs what is put. If nil, the node's own key.
	Publisher ed25519.PrivateKey
	Network   string    // the node's
	Data      string    // its profile's directory, if it has one
	Started   time.Time // when
}

// local is a node of this process.
type local struct {
	node    *node.Node
	options Options
}

// Local is n as an API. The caller starts and closes n.
func Local(n *node.Node, o Options) API { return &local{n, o} }

func (l *local) Status(ctx context.Context) (Status, error) {
	n, s := l.node, l.node.Stats()
	self, err := n.FindPeer(ctx, n.ID())
	if err != nil {
		return Status{}, err
	}
	published, unsettled := n.Published(), 0
	for _, p := range published {
		if p.Err != nil || p.Renewed.IsZero() {
			unsettled++
		}
	}
	readOnly := ""
	if s.ReadOnly != nil {
		readOnly = s.ReadOnly.Error()
	}
	return Status{
		ID:      n.ID(),
		Key:     n.Key(),
		Network: l.options.Network,
		Mode:    self.Mode.String(),
		Addrs:   addrStrings(n.Addrs()),
		Data:    l.options.Data,
		PID:     os.Getpid(),
		Started: l.options.Started,

		Peers:         s.Peers,
		Known:         s.Known,
		Connections:   s.Connections,
		Records:       s.Records,
		Published:     len(published),
		Unsettled:     unsettled,
		RecordBytes:   s.RecordBytes,
		Damaged:       s.Damaged,
		Losses:        s.Losses,
		ReadOnly:      readOnly,
		Republished:   s.Republished,
		HandedOver:    s.HandedOver,
		Lookups:       s.Lookups,
		Sent:          s.Sent.Total(),
		Served:        s.Served.Total(),
		BytesSent:     s.BytesSent,
		BytesReceived: s.BytesReceived,

		PortMappings: portMappings(n),

		Relays: relaysOf(n),
		Relaying: Relaying{
			Reservations: s.Relay.Reservations, Pairs: s.Relay.Flows, Calls: s.Relay.Calls,
			Packets: s.Relay.Packets, Bytes: s.Relay.Bytes, Refused: s.Relay.Refused, Dropped: s.Relay.Dropped,
		},
	}, nil
}

func relaysOf(n *node.Node) (all []Relay) {
	for _, r := range n.Relays() {
		all = append(all, Relay{r.ID, r.Addr.String(), Duration(r.RTT), r.Since, r.Expires})
	}
	return all
}

func portMappings(n *node.Node) (all []PortMapping) {
	for _, p := range n.PortMappings() {
		all = append(all, PortMapping(p))
	}
	return all
}

func (l *local) Put(ctx context.Context, p Put) (Stored, error) {
	stored, err := l.node.Put(ctx, p.Key, p.Value, &node.PutOptions{
		Kind:      wire.Kind(p.Kind),
		Name:      p.Name,
		IfSeq:     p.IfSeq,
		TTL:       time.Duration(p.TTL),
		Quorum:    p.Quorum,
		Publisher: l.options.Publisher,
	})
	if stored.Count > 0 && p.TTL == 0 {
		l.label(wire.Kind(p.Kind), stored.Key, p.Label)
	}
	return storedOf(stored), err
}

func storedOf(s node.Stored) Stored { return Stored{s.Key, s.Count, s.Of} }

func (l *local) Get(ctx context.Context, g Get) (Value, error) {
	v, err := l.node.Get(ctx, g.Key, &node.GetOptions{Kind: wire.Kind(g.Kind), Name: g.Name, Quorum: g.Quorum})
	if v.Kind == 0 { // there is none
		return Value{}, err
	}
	return valueOf(v), err
}

func (l *local) Values(ctx context.Context, g Get) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for v, err := range l.node.Values(ctx, g.Key, &node.GetOptions{Kind: wire.Kind(g.Kind), Name: g.Name, Quorum: g.Quorum}) {
			if !yield(valueOf(v), err) {
				return
			}
		}
	}
}

func valueOf(v node.Value) Value {
	return Value{
		Kind:      Kind(v.Kind),
		Key:       v.Key,
		Name:      v.Name,
		NameText:  textOf(v.Name),
		Data:      v.Data,
		Text:      textOf(v.Data),
		Publisher: v.Publisher,
		Seq:       v.Seq,
		Expiry:    v.Expiry.UTC(),
		From:      v.From,
		Answers:   v.Answers,
	}
}

// maxHops is how many hops wait for who watches a lookup; more are left out.
const maxHops = 1024

func (l *local) Lookup(ctx context.Context, o Lookup) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		hops := make(chan Hop, maxHops)
		r := new(Recorder)
		if o.Trace {
			r.Each = func(h Hop) {
				select {
				case hops <- h:
				default:
				}
			}
		}
		var nearest []node.Contact
		ended := make(chan error, 1)
		go func() {
			var err error
			nearest, err = l.node.Nearest(node.WithTrace(ctx, r.Trace()), o.Key)
			ended <- err
		}()
		for {
			select {
			case h := <-hops:
				if !yield(Step{Hop: &h}, nil) {
					cancel()
					<-ended
					return
				}
			case err := <-ended:
				for len(hops) > 0 {
					h := <-hops
					if !yield(Step{Hop: &h}, nil) {
						return
					}
				}
				if err != nil {
					yield(Step{}, err)
					return
				}
				found := Found{Nearest: make([]Contact, len(nearest)), Requests: len(r.Hops())}
				for i, c := range nearest {
					found.Nearest[i] = Contact{c.ID, c.Key(), c.Key().CommonPrefixLen(o.Key), addrStrings(c.Multiaddrs())}
				}
				yield(Step{Found: &found}, nil)
				return
			}
		}
	}
}

func (l *local) Ping(ctx context.Context, p Peer) (Pong, error) {
	if p.ID == l.node.ID() {
		return Pong{}, badRequest("%s is this node itself", p.ID)
	}
	_, connected := l.node.Conn(p.ID)
	began := time.Now()
	rtt, err := l.node.Ping(ctx, p.ID) // which finds it first if need be
	pong := Pong{RTT: Duration(rtt)}
	if !connected {
		pong.Connected = Duration(time.Since(began) - rtt)
	}
	if c, ok := l.node.Conn(p.ID); ok {
		pong.Path = pathOf(c.Path)
		pong.Connected, pong.Direct = max(pong.Connected, Duration(c.Call.Connected)), Duration(c.Call.Direct)
	}
	return pong, err
}

func pathOf(p node.Path) Path {
	path := Path{Kind: p.Kind.String(), Quiet: p.Quiet}
	if ap, ok := p.Addr.AddrPort(); ok {
		path.Addr = ap.String()
	}
	if !p.Relay.IsZero() {
		path.Relay = &p.Relay
	}
	return path
}

// addrStrings are addrs as text.
func addrStrings(addrs []ma.Multiaddr) []string {
	s := make([]string, len(addrs))
	for i, addr := range addrs {
		s[i] = addr.String()
	}
	return s
}
