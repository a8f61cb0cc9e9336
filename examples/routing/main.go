// Command routing finds nodes with package routing alone, over its own transport: 50 nodes on
// loopback, which speak a protocol of two UDP packets.
//
// The essential part is lookup, below. The transport is minimal: it believes every claim of a
// key, which a real one must not.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kadquic/kadquic/routing"
)

type contact = routing.Contact[netip.AddrPort]

// lookup finds the nodes nearest to target.
func (n *node) lookup(ctx context.Context, target routing.Key) ([]contact, error) {
	n.mu.Lock()
	l := routing.NewLookup(target, n.table.Nearest(target), routing.LookupOptions[netip.AddrPort]{
		Self:    n.self,
		Timeout: func(routing.Query[netip.AddrPort]) time.Duration { return 250 * time.Millisecond },
	})
	n.table.Looked(target, time.Now())
	n.mu.Unlock()
	err := l.Run(ctx, func(ctx context.Context, q routing.Query[netip.AddrPort]) (routing.Reply[netip.AddrPort], error) {
		closer, err := n.ask(ctx, q.Contact, target)
		return routing.Reply[netip.AddrPort]{Closer: closer}, err
	})
	return slices.Collect(l.Closest()), err
}

// join makes n part of the network that via belongs to (Kademlia §2.3).
func (n *node) join(ctx context.Context, via contact) error {
	n.seen(via)
	_, err := n.lookup(ctx, n.self.Key)
	return err
}

// node is one participant. Its packets, in both directions:
//
//	id 8 | sender's key 32 | target 32                        a question
//	id 8 | sender's key 32 | (key 32 | address 4 | port 2)…   its answer
type node struct {
	self contact
	conn *net.UDPConn

	mu     sync.Mutex // guards what follows
	table  *routing.Table[netip.AddrPort]
	lastID uint64
	asked  map[uint64]chan []contact // by id; each takes one answer
}

const (
	header   = 8 + 32
	question = header + 32
	entry    = 32 + 4 + 2
	answerID = 1 << 63 // set in the id of an answer
)

func start(name string) (*node, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	n := &node{
		self: contact{Key: routing.KeyOf(name), Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()},
		conn: conn, asked: map[uint64]chan []contact{},
	}
	n.table = routing.NewTable(n.self.Key, routing.TableOptions[netip.AddrPort]{})
	go n.serve()
	return n, nil
}

// seen notes a sign of life of c, and pings the contact that the table names.
func (n *node) seen(c contact) {
	n.mu.Lock()
	probe, ok := n.table.Seen(c, time.Now())
	n.mu.Unlock()
	if ok {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, _ = n.ask(ctx, probe, n.self.Key) // which tells the table
		}()
	}
}

// ask sends one question, awaits the answer, and tells the table whether it came.
func (n *node) ask(ctx context.Context, c contact, target routing.Key) ([]contact, error) {
	answer := make(chan []contact, 1)
	n.mu.Lock()
	n.lastID++
	id := n.lastID
	n.asked[id] = answer
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.asked, id)
		n.mu.Unlock()
	}()

	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := n.conn.WriteToUDPAddrPort(append(n.packet(id), target[:]...), c.Addr); err != nil {
		return nil, err
	}
	select {
	case closer := <-answer:
		n.seen(c)
		return closer, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // and not only because the caller has given up
			n.mu.Lock()
			n.table.Failed(c.Key, time.Now())
			n.mu.Unlock()
		}
		return nil, ctx.Err()
	}
}

func (n *node) packet(id uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, id), n.self.Key[:]...)
}

// serve handles packets until the socket closes.
func (n *node) serve() {
	buf := make([]byte, 2048)
	for {
		size, from, err := n.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if size < header {
			continue
		}
		id, sender := binary.BigEndian.Uint64(buf), routing.Key(buf[8:header])
		if id&answerID != 0 {
			n.mu.Lock()
			if answer, ok := n.asked[id&^answerID]; ok {
				delete(n.asked, id&^answerID)
				answer <- contacts(buf[header:size])
			}
			n.mu.Unlock()
			continue
		}
		if size != question {
			continue
		}
		n.seen(contact{Key: sender, Addr: from})
		n.mu.Lock()
		near := n.table.AppendNearest(nil, routing.Key(buf[header:]), routing.DefaultK)
		n.mu.Unlock()
		_, _ = n.conn.WriteToUDPAddrPort(appendContacts(n.packet(id|answerID), near), from)
	}
}

func appendContacts(b []byte, cs []contact) []byte {
	for _, c := range cs {
		addr := c.Addr.Addr().As4()
		b = append(append(b, c.Key[:]...), addr[:]...)
		b = binary.BigEndian.AppendUint16(b, c.Addr.Port())
	}
	return b
}

func contacts(b []byte) (cs []contact) {
	for ; len(b) >= entry; b = b[entry:] {
		cs = append(cs, contact{
			Key:  routing.Key(b[:32]),
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[32:])), binary.BigEndian.Uint16(b[36:])),
		})
	}
	return cs
}

// run starts a network and looks for the nodes nearest to the name's key.
func run(ctx context.Context, w io.Writer, size int, name string) error {
	names := map[routing.Key]string{}
	var nodes []*node
	for i := range size {
		n, err := start(fmt.Sprintf("node %d", i))
		if err != nil {
			return err
		}
		defer func() { _ = n.conn.Close() }()
		names[n.self.Key] = fmt.Sprintf("node %d", i)
		nodes = append(nodes, n)
		if i == 0 {
			continue
		}
		if err := n.join(ctx, nodes[0].self); err != nil {
			return fmt.Errorf("join node %d: %w", i, err)
		}
	}
	target := routing.KeyOf(name)
	nearest, err := nodes[size-1].lookup(ctx, target)
	if err != nil {
		return err
	}
	for i, c := range nearest[:min(3, len(nearest))] {
		_, _ = fmt.Fprintf(w, "%d. nearest to %q: %s, %s…\n", i+1, name, names[c.Key], c.Key.String()[:8])
	}
	return nil
}

func main() {
	name := "hello"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, 50, name); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "routing:", err)
		os.Exit(1)
	}
}
