package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/internal/search"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Provider is a peer that claims to provide a key.
type Provider struct {
	// Contact has the addresses of the provider's record that this node is willing to
	// dial; if there are none, the addresses that it knows otherwise.
	Contact
	Mode   Mode        // ModeAuto: not known
	Expiry time.Time   // of the record, unless the provider renews it
	From   wire.PeerID // the node that had the record
}

// FindProviders yields the peers that provide key, each once, as
// they are found, until the k nearest nodes have sent all records that they hold, or
// the caller stops. This node is among them if it provides. An error comes last; without
// providers it is ErrNotFound.
//
// The node remembers the addresses of the providers for later dials.
func (n *Node) FindProviders(ctx context.Context, key routing.Key) iter.Seq2[Provider, error] {
	return func(yield func(Provider, error) bool) {
		if err := n.ready(ctx); err != nil {
			yield(Provider{}, fmt.Errorf("providers of %s: %w", key, err))
			return
		}
		seen := make(map[wire.PeerID]bool)
		for r, err := range n.search.Results(ctx, search.Query{Key: key, Kind: wire.KindProvider, Quorum: search.All, ReadOnly: true}) {
			switch {
			case errors.Is(err, search.ErrNotFound):
				err = n.notFound()
			case errors.Is(err, ErrUnreachable) && len(seen) > 0: // what this node holds is an answer
				return
			}
			if err != nil {
				yield(Provider{}, fmt.Errorf("providers of %s: %w", key, err))
				return
			}
			p := n.provider(r) // which learns the addresses of a newer record, too
			if !seen[p.ID] {
				seen[p.ID] = true
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// provider reads a provider record and notes where the provider is. As the record may come
// from anywhere, the node dials only addresses that the sender of the record may name to
// it. From the records that it holds itself it takes global addresses only, while no peer is
// connected.
func (n *Node) provider(found search.Result) Provider {
	now := time.Now()
	r := found.Record
	id := r.Record.Publisher
	p := Provider{Contact: Contact{ID: id}, Expiry: r.Record.Expiry, From: found.From}
	narrowest := reach.ScopeGlobal
	switch {
	case found.Peer != nil:
		narrowest = reach.ScopeOf(found.Peer.RemoteAddr().Addr())
	case len(n.links.all()) > 0:
		narrowest = n.scope()
	}
	info, err := r.Record.PeerInfo()
	if err == nil {
		p.Mode = ModeClient
		if info.Mode == wire.ModeServer {
			p.Mode = ModeServer
		}
		p.Addrs = slices.DeleteFunc(n.dialable(info.Addrs), func(a wire.Addr) bool {
			ap, _ := a.AddrPort()
			return reach.ScopeOf(ap.Addr()) < narrowest
		})
	}
	if id != n.id {
		n.peers.Add(id, peerstore.SourceRecord, now, r.Record.Expiry.Sub(now), p.Addrs...)
	}
	if len(p.Addrs) == 0 {
		p.Contact = n.contact(id)
	}
	return p
}

// Provide stores at the k nodes nearest to key that this node provides the key, and its addresses. It renews that record ([Node.Published]) until
// StopProviding or Close; afterwards the record ends within Config.RecordTTL. With a context
// that has ended already Provide does nothing. If ctx ends midway, the peers that have
// stored the record keep it until it ends, and the node renews it if Stored counts any.
func (n *Node) Provide(ctx context.Context, key routing.Key) (Stored, error) {
	s, err := n.put(ctx, key, nil, PutOptions{Kind: wire.KindProvider})
	if s.Count > 0 {
		n.rendezvous.Keep(key)
	}
	return s, err
}

// StopProviding retracts the record of Provide: within a minute FindProviders no longer finds this
// node. If the node does not provide the key, the error is ErrNotFound. After any other
// error some peers may keep the record until it ends.
func (n *Node) StopProviding(ctx context.Context, key routing.Key) error {
	_, err := n.Unpublish(ctx, wire.KindProvider, key)
	return err
}

// providerValue is the value of the node's provider records: its mode and addresses now.
func (n *Node) providerValue() ([]byte, error) {
	return wire.PeerInfo{Mode: n.mode(), Addrs: n.addrs()}.Value()
}
