package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/internal/join"
	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

func publicKey(id wire.PeerID) quic.PublicKey { return quic.PublicKey(id) }

// A Peer describes one peer, as the network knows it.
type Peer struct {
	Contact
	Mode Mode // ModeAuto: not known
	// Record is the peer's own signed peer record, verified. It is nil if no node had it;
	// Addrs then comes from other peers.
	Record *wire.Signed
}

// FindPeer returns the addresses of a peer and its signed peer record, from the peer itself if it
// is connected, otherwise from the nodes nearest to its key. If none of them knows the
// peer the error is ErrNotFound.
func (n *Node) FindPeer(ctx context.Context, id wire.PeerID) (Peer, error) {
	if err := n.ready(ctx); err != nil {
		return Peer{}, err
	}
	if id == n.id {
		p := Peer{Contact: n.contact(id), Mode: ModeServer, Record: n.ownRecord()}
		if n.mode() == wire.ModeClient {
			p.Mode = ModeClient
		}
		return p, nil
	}
	connected := false
	if c, ok := n.pool.Lookup(publicKey(id)); ok && c.Value.(*link).IsUp() {
		p := n.peer(id)
		if p.Record != nil || c.Value.(*link).IsServer() {
			return p, nil
		}
		connected = true // a client may have published what it does not say
	}
	named, err := n.lookUpPeer(ctx, id, 1, connected)
	if err != nil {
		return Peer{}, fmt.Errorf("find peer %s: %w", id, err)
	}
	p := n.peer(id)
	if p.Record == nil && !named && !connected {
		return Peer{}, fmt.Errorf("peer %s: %w", id, ErrNotFound)
	}
	return p, nil
}

// lookUpPeer asks the nodes nearest to a peer's key for its record, until quorum of them have had
// it. It stores each answer at once, for a dial in progress. named reports whether any of
// them named the peer as a contact. connected says that the peer need not be found.
func (n *Node) lookUpPeer(ctx context.Context, id wire.PeerID, quorum int, connected bool) (named bool, err error) {
	key := n.refs.Of(id).Key
	var mu sync.Mutex
	out, err := n.lookups.Run(ctx, lookup.Lookup{Kind: "find peer", Target: key,
		Options: lookup.Options{Quorum: quorum},
		Ask: func(ctx context.Context, q lookup.Query, out *lookup.Outcome) (lookup.Reply, error) {
			p, nodes, err := n.lookups.FindNode(ctx, q.Addr.ID, key)
			if err != nil {
				return lookup.Reply{}, err
			}
			closer := out.AddReferrals(p, nodes.Contacts)
			for _, c := range nodes.Contacts {
				if c.ID == id {
					n.learn(p.RemoteAddr().Addr(), c, time.Now())
					mu.Lock()
					named = true
					mu.Unlock()
				}
			}
			found := n.learnRecord(nodes.Record, id)
			if found { // a call needs to know where the relays are
				for _, relay := range n.relays.RelaysOf(id) {
					out.ApplyReferrals(relay)
				}
			}
			return lookup.Reply{Closer: closer, Value: found || q.Addr.ID == id}, nil
		}})
	if err != nil {
		return false, err
	}
	mu.Lock()
	defer mu.Unlock()
	if err := n.lookups.Reached(out); err != nil && !connected {
		return false, err
	}
	return named, nil
}

// learnRecord stores a peer record that another peer passed on, if it is a valid one of id.
func (n *Node) learnRecord(r *wire.Signed, id wire.PeerID) bool {
	now := time.Now()
	if r == nil || r.Record.Kind != wire.KindPeer || r.Record.Publisher != id || !n.isGenuine(r, now) {
		return false
	}
	info, err := r.Record.PeerInfo()
	if err != nil {
		return false
	}
	newer := n.setRecord(id, r, now)
	if newer {
		n.peers.SetMode(id, info.Mode)
	}
	n.addAddrs(id, peerstore.SourceRecord, now, r.Record.Expiry.Sub(now), n.dialable(info.Addrs)...)
	if newer { // which may name other relays
		n.wanted.Tell(id)
	}
	return true
}

// peer collects what is known of a peer; a record that we hold only unverified,
// from the peer's HELLO, is verified here.
func (n *Node) peer(id wire.PeerID) Peer {
	p := Peer{Contact: n.contact(id)}
	r := n.recordOf(id, time.Now())
	if r == nil {
		return p
	}
	info, err := r.Record.PeerInfo()
	if err != nil {
		return p
	}
	p.Record = r
	p.Mode = ModeClient
	if info.Mode == wire.ModeServer {
		p.Mode = ModeServer
	}
	return p
}

// reach returns a link to a peer, finding it first if need be.
func (n *Node) reach(ctx context.Context, id wire.PeerID) (*link, error) {
	return n.reachFor(ctx, id, forRequests)
}

func (n *Node) knowsWhere(id wire.PeerID) bool {
	if _, ok := n.pool.Lookup(publicKey(id)); ok {
		return true
	}
	return len(n.peers.AppendAddrs(nil, id, time.Now())) > 0 || len(n.relays.RelaysOf(id)) > 0
}

// Connect connects to a peer at an address, which must end in its /p2p/ID, and
// returns the ID. An address that the user gives is tried at once, whatever
// failed before. It may go by a relay: see Learn.
func (n *Node) Connect(ctx context.Context, addr ma.Multiaddr) (wire.PeerID, error) {
	if err := n.ready(ctx); err != nil {
		return wire.PeerID{}, err
	}
	id, err := n.AddAddr(addr)
	if err != nil {
		return wire.PeerID{}, fmt.Errorf("connect: %w", err)
	}
	return id, n.meet(ctx, join.Target{ID: id})
}

// meet connects to a peer that the user named, or that was known in an earlier life.
func (n *Node) meet(ctx context.Context, t join.Target) error {
	if t.ID == n.id {
		return nil
	}
	if t.Addr != "" {
		n.addAddrs(t.ID, peerstore.SourceUser, time.Now(), 0, t.Addr)
	}
	n.backoff.Clear(t.ID)
	_, err := n.link(ctx, t.ID)
	return err
}

// Peers returns the contacts of the routing table, in no order.
func (n *Node) Peers() []Contact {
	all := n.routes.Refs()
	contacts := make([]Contact, len(all))
	for i, ref := range all {
		contacts[i] = n.contact(ref.ID)
	}
	return contacts
}

// A Bucket is one k-bucket as it stands.
type Bucket struct {
	Depth        int  // bits that its contacts share with our key; of the last: at least
	Last         bool // the one that covers our own key
	Contacts     []Contact
	Marked       int // contacts that did not answer, kept until another replaces them
	Replacements int // contacts waiting for a place
	Looked       time.Time
}

// Table returns the k-buckets, the farthest from our own key first, their
// contacts least recently seen first.
func (n *Node) Table() []Bucket {
	raw := n.routes.Buckets()
	buckets := make([]Bucket, len(raw))
	for i, b := range raw {
		buckets[i] = Bucket{Depth: b.Depth, Last: b.Last, Marked: b.Marked, Replacements: b.Replacements, Looked: b.Looked}
		for _, c := range b.Contacts {
			buckets[i].Contacts = append(buckets[i].Contacts, n.contact(c.Addr.ID))
		}
	}
	return buckets
}

// ClosePeer closes the connections to a peer, if there are any: where both have dialled
// at once there are two for a while. The next request to it opens another.
func (n *Node) ClosePeer(id wire.PeerID) {
	for _, l := range n.links.all() {
		if l.id == id {
			l.conn.Close(wire.CloseNone, "")
		}
	}
}
