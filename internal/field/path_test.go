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
)

// A change is another path to a peer.
type change struct {
	At   time.Time
	Peer string
	Path string // "direct …", "punched …", "relayed by …"
}

// A pathLog is the latest path to each peer, and since when. The zero value is empty;
// goroutines may share it.
type pathLog struct {
	mu   sync.Mutex
	last map[string]change
	wake chan struct{} // closed at the next change
}

// note takes in that a path is another.
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

// of returns the latest change of the path to a peer, and what is closed when there
// may be another.
func (l *pathLog) of(peer string) (change, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return l.last[peer], l.wake
}

// watch has the node tell of its paths.
func (l *pathLog) watch(t *node.Trace) {
	t.Path = func(e node.PathEvent) { l.note(change{time.Now(), e.Peer.String(), e.Path.String()}) }
}

// tracePaths prints what has to do with paths.
func tracePaths(t *node.Trace, out io.Writer) {
	path := t.Path
	t.Path = func(e node.PathEvent) {
		path(e)
		fmt.Fprintln(out, e)
	}
	t.Call = func(e node.CallEvent) { fmt.Fprintln(out, e) }
}

func pathOf(c net.Conn) string { return node.PathOf(c).String() }

// straight reports whether packets go by no relay, nor by one too because it has been
// quiet otherwise.
func straight(path string) bool {
	return path != "" && !strings.HasPrefix(path, "relayed") && !strings.HasSuffix(path, "(quiet)")
}

// relayedBy is the path by a public node.
func relayedBy(p *peer) string { return "relayed by " + p.ID }

// relaysOf are the peer IDs of those that hold a place for a node.
func relaysOf(n *node.Node) (ids []string) {
	for _, r := range n.Relays() {
		ids = append(ids, r.ID.String())
	}
	return ids
}

// learn notes the addresses of a ticket.
func (p *program) learn(_ context.Context, o order) (any, error) {
	for _, text := range o.Addrs {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		if _, err := p.node.Learn(a); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
