package field

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// A change is a change of the path to a peer.
type change struct {
	At   time.Time
	Peer string
	Path string // "direct …", "punched …", "relayed by …"
}

// A pathLog holds the latest path to each peer, with its time. The zero value is empty;
// goroutines may share it.
type pathLog struct {
	mu   sync.Mutex
	last map[string]change
	wake chan struct{} // closed at the next change
	took map[string]madeCall
}

// A madeCall is the duration of a call through a relay, and the time when it connected.
type madeCall struct {
	at   time.Time
	took time.Duration
}

// connected notes that a call has connected.
func (l *pathLog) connected(peer string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.took == nil {
		l.took = make(map[string]madeCall)
	}
	l.took[peer] = madeCall{time.Now(), took}
}

// calledSince returns the duration of the latest call to a peer, zero if the call is older.
func (l *pathLog) calledSince(peer string, since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.took[peer]; c.at.After(since) {
		return c.took
	}
	return 0
}

// note records a change of a path.
func (l *pathLog) note(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]change)
	}
	l.last[c.Peer] = c
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

// of returns the latest change of the path to a peer, and a channel that closes when there
// may be another.
func (l *pathLog) of(peer string) (change, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return l.last[peer], l.wake
}

// watch subscribes to the path events of the node.
func (l *pathLog) watch(t *node.Trace) {
	t.Path = func(e node.PathEvent) { l.note(change{time.Now(), e.Peer.String(), e.Path.String()}) }
	t.Call = func(e node.CallEvent) {
		if e.What == "connected" && !e.Inbound {
			l.connected(e.Peer.String(), e.Took)
		}
	}
}

// tracePaths prints path events.
func tracePaths(t *node.Trace, out io.Writer) {
	path := t.Path
	t.Path = func(e node.PathEvent) {
		path(e)
		fmt.Fprintln(out, e)
	}
	call := t.Call
	t.Call = func(e node.CallEvent) {
		call(e)
		fmt.Fprintln(out, e)
	}
}

func pathOf(c net.Conn) string { return c.(*node.Stream).Path().String() }

// straight reports whether packets use no relay. While a direct path is quiet, a node sends
// through a relay as well.
func straight(path string) bool {
	return path != "" && !strings.HasPrefix(path, "relayed") && !strings.HasSuffix(path, "(quiet)")
}

// relayedBy returns the path through a public node.
func relayedBy(p *peer) string { return "relayed by " + p.ID }

// relaysOf returns the peer IDs of the relays at which a node has reservations.
func relaysOf(n *node.Node) (ids []string) {
	for _, r := range n.Relays() {
		ids = append(ids, r.ID.String())
	}
	return ids
}

// find looks a peer up, and returns the number of relays that its record names.
func (p *program) find(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	found, err := p.node.FindPeer(ctx, id)
	if err != nil || found.Record == nil {
		return 0, err
	}
	info, err := found.Record.Record.PeerInfo()
	return len(info.Relays), err
}

// ping pings a connected peer, and returns the round-trip time.
func (p *program) ping(ctx context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	return p.node.Ping(ctx, id)
}

// learn notes the addresses of a ticket.
func (p *program) learn(_ context.Context, o order) (any, error) {
	for _, text := range o.Addrs {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		if _, err := p.node.AddAddr(a); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
