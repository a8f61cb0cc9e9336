package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/lookup"
	"github.com/kadquic/kadquic/internal/reach"
	"github.com/kadquic/kadquic/peerstore"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A Provider is a peer that says it provides what a key stands for.
type Provider struct {
	// Contact is the peer and where its record says it may be dialled, as far as
	// we would; if the record does not say, where we know it to be.
	Contact
	Mode   Mode        // ModeAuto: not told
	Expiry time.Time   // of its word, unless it gives it again
	From   wire.PeerID // who had the record
}

// FindProviders yields the peers that provide what key stands for, each once, as
// they are found, until the k nearest nodes have told all that they hold, or
// the caller has seen enough. This node is among them if it provides. An error
// comes last; if there is nobody it is ErrNotFound.
//
// What a provider says of where it is stays in mind: to call it is to dial it
// there.
func (n *Node) FindProviders(ctx context.Context, key routing.Key) iter.Seq2[Provider, error] {
	return func(yield func(Provider, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		found := make(chan Provider)
		ended := make(chan error, 1)
		c := &providerSearch{node: n, key: key, seen: make(map[wire.PeerID]*wire.Signed), pager: pager{patience: n.config.RPCTimeout}, notify: func(p Provider) {
			select {
			case found <- p:
			case <-ctx.Done():
			}
		}}
		go func() { ended <- c.run(ctx) }()
		defer func() {
			cancel()
			if ended != nil {
				<-ended
			}
		}()
		for {
			select {
			case p := <-found:
				if !yield(p, nil) {
					return
				}
			case err := <-ended:
				ended = nil
				if len(c.seen) == 0 && err == nil {
					err = n.notFound()
				}
				if err != nil {
					yield(Provider{}, fmt.Errorf("providers of %s: %w", key, err))
				}
				return
			}
		}
	}
}

// A providerSearch is one search for providers.
type providerSearch struct {
	node   *Node
	key    routing.Key
	notify func(Provider) // of each new one; may block
	pager  pager

	mu   sync.Mutex
	seen map[wire.PeerID]*wire.Signed // by publisher: the best so far
}

// run looks at what this node holds itself, and then asks the network. Peers
// with many pages are asked for them beside the walk, which they do not hold up,
// and its end by no more than the time of one request.
func (c *providerSearch) run(ctx context.Context) error {
	n := c.node
	if err := n.ready(ctx); err != nil {
		return err
	}
	for _, r := range n.values.Get(time.Now(), wire.KindProvider, c.key, math.MaxInt) {
		c.add(r, nil)
	}
	paging, stop := context.WithCancel(ctx)
	defer stop()
	out, err := n.lookups.Run(ctx, lookup.Lookup{Kind: "find providers", Target: c.key,
		Options: lookupOptions{Patient: true},
		Ask: func(ctx context.Context, q query, out *lookup.Outcome) (lookup.Reply, error) {
			return c.ask(ctx, paging, q, out)
		}})
	c.pager.wait(stop)
	if err != nil || len(c.seen) > 0 {
		return err
	}
	return n.lookups.Reached(out)
}

// ask asks one peer for its first page.
func (c *providerSearch) ask(ctx, paging context.Context, q query, out *lookup.Outcome) (lookup.Reply, error) {
	n := c.node
	l, page, err := c.page(ctx, q.Addr.ID, wire.PeerID{}, n.config.K)
	if err != nil {
		return lookup.Reply{}, err
	}
	r := lookup.Reply{Closer: out.AddReferrals(l, page.Contacts)}
	last, good := c.addPage(l, page, wire.PeerID{})
	r.Value = good > 0
	if page.More && !last.IsZero() {
		c.pager.pages.Go(func() { c.morePages(paging, q.Addr.ID, last) })
	}
	return r, nil
}

// morePages asks a peer for the pages behind that publisher.
func (c *providerSearch) morePages(ctx context.Context, id wire.PeerID, last wire.PeerID) {
	for range maxPages - 1 {
		l, page, err := c.page(ctx, id, last, 0)
		if err != nil {
			return
		}
		if last, _ = c.addPage(l, page, last); !page.More || last.IsZero() {
			return
		}
	}
	c.node.config.Logger.Info("peer tells of providers without end", "peer", id, "key", c.key)
}

func (c *providerSearch) page(ctx context.Context, id, after wire.PeerID, contacts int) (*link, wire.Providers, error) {
	l, m, err := c.node.request(ctx, id, wire.GetProviders{Key: c.key, Count: contacts, After: after})
	if err != nil {
		return nil, wire.Providers{}, err
	}
	page, ok := m.(wire.Providers)
	if !ok {
		return nil, wire.Providers{}, unexpected(id, m)
	}
	return l, page, nil
}

// addPage takes in what verifies of a page that begins behind the publisher after.
// It returns the last publisher, behind whom the next begins, and how many
// were good; the zero one if the page is no honest one: it does not advance, is
// of something else, or is full of forgeries.
func (c *providerSearch) addPage(l *link, page wire.Providers, after wire.PeerID) (last wire.PeerID, good int) {
	n, now := c.node, time.Now()
	forged := 0
	for _, r := range page.Records {
		by := r.Record.Publisher
		if r.Record.Kind != wire.KindProvider || r.Record.Key != c.key || bytes.Compare(by[:], after[:]) <= 0 {
			n.config.Logger.Info("not the providers asked for", "peer", l.id, "key", c.key)
			return wire.PeerID{}, good
		}
		after = by
		if !c.known(r) {
			if err := n.verify(r, now); err != nil {
				n.config.Logger.Info("record does not verify", "peer", l.id, "key", c.key, "err", err)
				if errors.Is(err, wire.ErrBadSignature) {
					forged++
				}
				if forged == maxForged {
					return wire.PeerID{}, good
				}
				continue
			}
		}
		good++
		c.add(r, l)
	}
	if len(page.Records) == 0 {
		return wire.PeerID{}, good
	}
	return after, good
}

// known reports whether this very record has been verified already.
func (c *providerSearch) known(r *wire.Signed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen[r.Record.Publisher]
	return s != nil && s.Signature == r.Signature && bytes.Equal(s.Payload, r.Payload)
}

// add takes in a verified record; l is nil if we hold it ourselves.
func (c *providerSearch) add(r *wire.Signed, l *link) {
	id := r.Record.Publisher
	c.mu.Lock()
	had := c.seen[id]
	if had == nil || wire.Newer(r, had) {
		c.seen[id] = r
	}
	c.mu.Unlock()
	if had != nil && !wire.Newer(r, had) {
		return
	}
	c.pager.found()
	p := c.node.provider(r, l)
	if had == nil {
		c.notify(p)
	}
}

// provider reads a verified record that l's peer told, or that we hold
// ourselves (nil), and notes where the provider is. As the record may come from
// anywhere we dial only such addresses as the teller may name to us, and if it
// is ourselves, and we are alone, only global ones.
func (n *Node) provider(r *wire.Signed, l *link) Provider {
	now := time.Now()
	id := r.Record.Publisher
	p := Provider{Contact: Contact{ID: id}, Expiry: r.Record.Expiry, From: n.id}
	narrowest := reach.ScopeGlobal
	switch {
	case l != nil:
		p.From, narrowest = l.id, reach.ScopeOf(l.addr.Addr())
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

// Provide tells the k nodes nearest to key that this node provides what the key
// stands for, and where it is. It goes on telling them ([Node.Published]), until
// StopProviding, or until it is closed: then others forget it within
// Config.RecordTTL. With a context that has ended already it does nothing; if ctx ends
// midway, the peers that have heard it know it until the record ends, and the node goes
// on telling them if Stored counts any.
func (n *Node) Provide(ctx context.Context, key routing.Key) (Stored, error) {
	s, err := n.put(ctx, key, nil, PutOptions{Kind: wire.KindProvider})
	if s.Count > 0 {
		n.rendezvous.keep(key)
	}
	return s, err
}

// StopProviding takes back what Provide said: within a minute nobody is told of
// this node any more. If it does not provide that, the error is ErrNotFound. Any
// other says that some may not have heard of it, and forget this node only when
// its record ends.
func (n *Node) StopProviding(ctx context.Context, key routing.Key) error {
	_, err := n.Unpublish(ctx, wire.KindProvider, key)
	return err
}

// providerValue says where this node is now: the value of its provider records.
func (n *Node) providerValue() ([]byte, error) {
	return wire.PeerInfo{Mode: n.mode(), Addrs: n.addrs()}.Value()
}

// serveProviders answers GET_PROVIDERS with a page of what is held.
func (l *link) serveProviders(id uint64, m wire.GetProviders, now time.Time) error {
	room := contactRooms.Get().(*contactRoom)
	defer contactRooms.Put(room)
	records, more := l.node.pageOf(wire.KindProvider, m.Key, m.After, now)
	return l.Reply(id, wire.Providers{
		Records:  records,
		More:     more,
		Contacts: l.contactsNear(room, m.Key, m.Count, routing.Key{}),
	})
}
