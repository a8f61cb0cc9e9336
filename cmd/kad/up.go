package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/internal/lan"
	"github.com/kadquic/kadquic/internal/store"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// defaultPort is where a node listens unless told otherwise. (It was free in
// IANA's registry.)
const defaultPort = 4774

func (a *app) upCommand() *cobra.Command {
	var listen []string
	var noLAN, noPortMap, noRelay bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a node until interrupted",
		Long: fmt.Sprintf(`Up runs one node: it prints its peer ID and the addresses at which others reach
it, then each peer as it enters or leaves the routing table. While it runs the
other commands work through it. Nodes of one network on the same LAN find each
other, by multicast DNS. Where there are none, and without --bootstrap, it is the
first time the first of its network, and waits for others. Behind a router that
speaks PCP, NAT-PMP or UPnP it asks that others be let in, as long as it runs; where
nobody gets in, public nodes relay to it. A node that others reach relays for those
whom they do not, within limits, and cannot read what it passes on.

Its identity, the records it holds, what it publishes and whom it knows are in
the profile (--data), which is made on first use: started again, also after a
crash, it is back where it was, and needs no --bootstrap. One profile is for one
node at a time.

It listens on UDP port %d of every interface, or on another when that is taken
and --listen was not given. An interrupt ends it, with a goodbye to its peers.`, defaultPort),
		Example: `  kad up
  kad up --data /srv/node --bootstrap $ADDR
  kad up --data /tmp/second --listen /ip4/127.0.0.1/udp/4775/quic-v1`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.up(cmd.Context(), listen, noLAN, noPortMap, noRelay)
		},
	}
	cmd.Flags().StringArrayVar(&listen, "listen", nil,
		fmt.Sprintf("listen at this `MULTIADDR`, /ip4/…/udp/…/quic-v1; may be repeated; port 0 is any (default all interfaces, port %d)", defaultPort))
	cmd.Flags().BoolVar(&noLAN, "no-lan", false, "neither look for nodes on the same LAN nor be found there")
	cmd.Flags().BoolVar(&noPortMap, "no-portmap", false, "do not ask the router, by PCP, NAT-PMP and UPnP, to let others in")
	cmd.Flags().BoolVar(&noRelay, "no-relay", false, "do not pass on packets of peers that cannot be reached otherwise")
	return cmd
}

func (a *app) up(ctx context.Context, listen []string, noLAN, noPortMap, noRelay bool) error {
	ignoreBrokenPipes()
	a.outOptional = true
	bootstrap, err := a.bootstrapPeers()
	if err != nil {
		return err
	}
	// What happens in the routing table is printed from here, not from the
	// node's goroutines: a slow terminal must not stop them.
	peers := make(chan node.PeerEvent, 4096)
	modes := make(chan node.ReachEvent, 64)
	config := node.Config{
		Network: a.network,
		Agent:   agent,
		Logger:  a.logger(),
		Trace: &node.Trace{
			Peer: func(e node.PeerEvent) {
				select {
				case peers <- e:
				default: // drop it: the reader is too slow
				}
			},
			Reach: func(e node.ReachEvent) {
				select {
				case modes <- e:
				default:
				}
			},
		},
	}
	if config.Listen, err = listenAddrs(listen); err != nil {
		return err
	}
	config.NoPortMapping, config.NoRelay = noPortMap, noRelay
	if !noLAN && !onlyLoopback(config.Listen) {
		config.Discovery = lan.New(a.network, config.Logger)
	}

	own, err := a.openProfile()
	if err != nil {
		return err
	}
	unlock, err := own.lockForNode()
	if err != nil {
		return err
	}
	defer unlock()
	own.clearUp()
	if config.Key, _, err = own.key(); err != nil {
		return err
	}
	config.Data = own.dir
	if len(listen) == 0 {
		conn, err := a.listenDefault()
		if err != nil {
			return err
		}
		config.PacketConns = []net.PacketConn{conn}
	}

	n, err := node.New(config)
	if err != nil {
		return err
	}
	defer n.Close()
	started := time.Now()
	// Without bootstrap peers in its Config the node starts at once, and its
	// addresses are told before any wait.
	if err := n.Start(ctx); err != nil {
		return a.startError(err, own)
	}
	stopControl, err := a.serveControl(ctx, n, control.Options{Network: a.network, Data: own.dir, Started: started})
	if err != nil { // some file systems have no sockets
		a.fail(fmt.Errorf("%w (the node runs on, but no command reaches it)", err))
	}
	defer stopControl()
	told := a.introduce(n, own)
	tickets := make(chan node.Ticket)
	go func() {
		for t := range n.Tickets(ctx) {
			select {
			case tickets <- t:
			case <-ctx.Done():
			}
		}
	}()
	joined := make(chan error, 1)
	switch {
	case len(bootstrap) == 0 && n.Stats().Known == 0: // the first of its network
	case len(bootstrap) == 0: // it knows peers from before
		go func() { joined <- n.Bootstrap(ctx) }()
	case onlySelf(n.ID(), bootstrap):
		a.note("Every --bootstrap address is this node's own, so it waits for others. If it should be another node, give it an identity of its own by --data.")
	default:
		go func() { joined <- n.Bootstrap(ctx, bootstrap...) }()
	}
	for {
		select {
		case e := <-peers:
			a.peerEvent(e)
		case e := <-modes:
			a.reachEvent(e)
		case t := <-tickets:
			a.addrEvent(t, told)
		case err := <-joined:
			if ctx.Err() == nil {
				a.joinResult(n, err)
			}
		case <-ctx.Done():
			a.leaving()
			stopControl() // first, while there is a node to answer what is under way
			return n.Close()
		}
	}
}

// startError adds to the error of a node that cannot open its database what to
// do about it.
func (a *app) startError(err error, p profile) error {
	switch {
	case errors.Is(err, store.ErrDamaged) && a.data != "":
		return fmt.Errorf("%w. In full: kad doctor --salvage%s", err, a.dataFlag())
	case errors.Is(err, store.ErrForeign):
		return fmt.Errorf("%w. It was left as it is: move %q away, or give the node another directory by --data", err, p.database())
	}
	return err
}

// dataFlag is --data as it was given, to be said again.
func (a *app) dataFlag() string {
	if a.data == "" {
		return ""
	}
	return " --data " + wire.Printable(a.data)
}

// serveControl answers commands on the control socket, until the function that
// it returns is called or ctx ends; that function waits for the end. It may be
// called after an error, too.
func (a *app) serveControl(ctx context.Context, n *node.Node, o control.Options) (stop func(), err error) {
	l, err := control.Listen(o.Data)
	if err != nil {
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer l.Close()
		if err := control.Serve(ctx, l, control.Local(n, o), a.logger()); err != nil {
			a.fail(fmt.Errorf("%w (the node runs on, but no command reaches it)", err))
		}
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

// onlySelf reports whether all of peers are the peer id.
func onlySelf(id wire.PeerID, peers []ma.Multiaddr) bool {
	return !slices.ContainsFunc(peers, func(p ma.Multiaddr) bool {
		_, other, err := wire.SplitPeer(p)
		return err != nil || other != id
	})
}

// listenAddrs parses the values of --listen.
func listenAddrs(listen []string) ([]ma.Multiaddr, error) {
	var addrs []ma.Multiaddr
	for _, s := range listen {
		addr, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, usagef("--listen %q is not a multiaddr: %w", s, err)
		}
		if _, err := quic.ParseListen(addr); err != nil {
			return nil, usagef("--listen %q: %w", s, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// onlyLoopback reports whether all addresses are loopback addresses. An empty list
// stands for every interface.
func onlyLoopback(listen []ma.Multiaddr) bool {
	for _, addr := range listen {
		if ap, err := quic.ParseListen(addr); err != nil || !ap.Addr().IsLoopback() {
			return false
		}
	}
	return len(listen) > 0
}

// listenDefault opens the default port on every interface, or, when it is taken,
// another.
func (a *app) listenDefault() (net.PacketConn, error) {
	conn, err := quic.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), defaultPort))
	if err == nil {
		return conn, nil
	}
	a.note("UDP port %d cannot be had (%v); taking another.", defaultPort, err)
	return quic.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
}
