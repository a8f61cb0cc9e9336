package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// settleTime is how long a node of netcheck's own may take to find out: peers have
// three seconds to connect, and some are asked twice.
const settleTime = 12 * time.Second

func (a *app) netcheckCommand() *cobra.Command {
	var noPortMap bool
	cmd := &cobra.Command{
		Use:   "netcheck",
		Short: "Show whether others reach this machine, and what to do",
		Long: `Netcheck shows at which addresses a node is, and how that is known; whether others
can connect to it there; what the NATs before it do, and whether the router lets
others in; by which relays it is reached otherwise; and what can be done about it.

It asks the node that runs on this profile. With --bootstrap, or where none runs
and $KAD_BOOTSTRAP is set, it runs one of its own on the port of "kad up" if that
is free, with everything that "kad up" does but finding nodes of the LAN, for the
ten seconds that it may take to find out.`,
		Example: `  kad netcheck
  kad netcheck --json
  kad netcheck --bootstrap $ADDR`,
		Args: takesNone,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.within(cmd.Context(), func(ctx context.Context) error { return a.netcheck(ctx, noPortMap) })
		},
	}
	cmd.Flags().BoolVar(&noPortMap, "no-portmap", false, "with a node of its own: do not ask the router")
	return cmd
}

func (a *app) netcheck(ctx context.Context, noPortMap bool) error {
	given, err := a.bootstrapFlag()
	if err != nil {
		return err
	}
	var c control.Netcheck
	if len(given) == 0 {
		api, err := a.daemon(ctx)
		if err == nil {
			if c, err = api.Netcheck(ctx); err != nil {
				return err
			}
			a.showNetcheck(c)
			return nil
		}
		env, envErr := a.bootstrapPeers()
		if envErr != nil {
			return envErr
		}
		if len(env) == 0 {
			return err
		}
		given = env
	}
	if c, err = a.checkByOwnNode(ctx, given, noPortMap); err != nil {
		return err
	}
	a.showNetcheck(c)
	return nil
}

// checkByOwnNode runs a node as "kad up" would, for as long as it takes to find out.
func (a *app) checkByOwnNode(ctx context.Context, bootstrap []ma.Multiaddr, noPortMap bool) (c control.Netcheck, err error) {
	socket, err := a.listenDefault()
	if err != nil {
		return c, err
	}
	n, err := node.New(node.Config{
		Network:           a.network,
		Agent:             agent,
		PacketConns:       []net.PacketConn{socket},
		NoPortMapping:     noPortMap,
		NoRelay:           true,
		RepublishInterval: -1,
		Logger:            a.logger(),
	})
	if err != nil {
		return c, err
	}
	defer n.Close()
	if err := n.Start(ctx); err != nil {
		return c, err
	}
	p := a.progress()
	defer p.clear()
	p.show("joining …")
	if err := n.Bootstrap(ctx, bootstrap...); err != nil {
		return c, err
	}
	p.show("asking others to connect …")
	limited, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	api := control.Local(n, control.Options{Network: a.network})
	asked := make(map[string]bool) // addresses; the router may give another one after a while
	for {
		n.CheckReachability(limited) // which returns what is known in any case
		if c, err = api.Netcheck(ctx); err != nil {
			return c, err
		}
		news := false
		for _, addr := range c.Addrs {
			news = news || addr.Public && !asked[addr.Addr]
			asked[addr.Addr] = true
		}
		if limited.Err() != nil || !news && !routerPending(c) {
			return c, ctx.Err()
		}
		p.show("asking the router …")
		select {
		case <-time.After(500 * time.Millisecond):
		case <-limited.Done():
		}
	}
}

// routerPending reports whether a router may still answer.
func routerPending(c control.Netcheck) bool {
	return slices.ContainsFunc(c.PortMappings, func(p control.PortMapping) bool {
		return !p.Outside.IsValid() && strings.Contains(p.Why, "not been asked yet")
	})
}

func (a *app) showNetcheck(c control.Netcheck) {
	c.Advice = advice(c)
	a.object(c)
	reach := map[string]string{"yes": "yes, others connect to this node", "no": "no, nobody can connect to this node", "unknown": "not known"}[c.Reach]
	switch {
	case notConnected(c):
		reach = "not known: this node is not connected to any peer"
	case seemsCutOff(c):
		reach = "probably not, as far as so few peers can tell"
	case c.Reach == "unknown" && c.Thorough && c.Mode == "server" && !c.Told:
		reach = "probably, as far as so few peers can tell: those that know this node connect to it"
	}
	if c.Asking {
		reach += "; peers are being asked"
	} else if !c.Asked.IsZero() {
		reach += fmt.Sprintf("; peers were asked %s ago", roughly(time.Since(c.Asked)))
	}
	a.print("reachable    %s", reach)
	a.print("mode         %s: %s", c.Mode, oneLine(c.Why))
	for _, addr := range c.Addrs {
		a.print("address      %s", addr.Addr)
		a.print("             %s; %s", howKnown(addr), oneLine(addr.Why))
	}
	a.print("NAT, IPv4    %s", natText(c.IPv4))
	a.print("NAT, IPv6    %s", natText(c.IPv6))
	for _, p := range c.PortMappings {
		does := routerDoes(p)
		if len(p.Speaks) > 0 {
			does += "; speaks " + strings.Join(p.Speaks, ", ")
		}
		a.print("router       %s", does)
	}
	for _, r := range c.Relays {
		a.print("relay        %s at %s, %s away, until %s unless renewed", r.ID, r.Addr, took(time.Duration(r.RTT)), logTime(r.Expires))
	}
	for i, line := range c.Advice {
		label := ""
		if i == 0 {
			label = "what to do"
		}
		a.print("%-12s %s", label, line)
	}
}

// howKnown says how the node knows an address.
func howKnown(a control.OwnAddr) string {
	how := map[string]string{"own": "of this machine", "mapped": "as the router says", "observed": "as others see it"}[a.Known]
	if a.Votes > 0 && a.Known != "observed" {
		how += ", and others see it there"
	}
	reach := map[string]string{"yes": "reachable", "no": "NOT reachable", "unknown": "not known to be reachable"}[a.Reach]
	if !a.Public {
		return how
	}
	return how + "; " + reach
}

// natText describes the NAT in front of the node.
func natText(n control.NAT) string {
	var text string
	switch n.Mapping {
	case node.MappingNone.String():
		text = "none: others see this machine's own address"
	case node.MappingIndependent.String():
		text = "yes: one outside port for all (endpoint-independent)"
	case node.MappingSequential.String():
		text = "yes: another outside port for each peer, the next (symmetric, sequential)"
	case node.MappingRandom.String():
		text = "yes: another outside port for each peer, at random (symmetric)"
	default:
		if n.Votes == 0 {
			return "not known: no public peer sees this machine"
		}
		text = fmt.Sprintf("not known: %s it, and that is too few", seenByPeers(n.Votes))
	}
	if n.Outside.IsValid() && n.Mapping != node.MappingNone.String() {
		text += fmt.Sprintf("; seen at %v", n.Outside)
	}
	return text
}

func seenByPeers(votes int) string {
	if votes == 1 {
		return "1 peer sees"
	}
	return fmt.Sprintf("%d peers see", votes)
}

// seemsCutOff reports whether the node has become a client on weak evidence, as in a
// network of one or two public nodes.
func seemsCutOff(c control.Netcheck) bool {
	return c.Reach == "unknown" && c.Mode == "client" && !c.Told
}

// notConnected reports whether the node has no peer that could observe it.
func notConnected(c control.Netcheck) bool {
	return c.Peers == 0 && c.Conns == 0
}

// advice says what a user can do, in a case like this.
func advice(c control.Netcheck) []string {
	unknown := c.Reach == "unknown" && !seemsCutOff(c)
	port := portOf(c)
	var relayed []string
	if c.Reach != "yes" && len(c.Relays) > 0 {
		relayed = []string{fmt.Sprintf("Meanwhile others reach it through %s, and by hole punching.", plural(len(c.Relays), "relay"))}
	}
	switch {
	case c.Reach == "yes":
		return []string{"Nothing: this node can be reached."}
	case c.Peers == 0:
		return []string{"Join a network by --bootstrap. If that fails and the peer runs, something on the way lets no UDP through."}
	case unknown && c.Asking:
		return []string{"Ask again in some seconds."}
	case unknown && !slices.ContainsFunc(c.Addrs, func(a control.OwnAddr) bool { return a.Public }) && c.IPv4.Votes+c.IPv6.Votes == 0:
		return []string{"Nothing, if only this network or machine is meant: its peers are there, too. To be reached from the internet it needs peers there."}
	case unknown && !c.Thorough && !c.Told:
		return append([]string{"Ask again in a minute: peers are asked three times within that."}, relayed...)
	case unknown:
		return append([]string{"Nothing. To be sure takes more peers: one to which nothing was sent for ten minutes has to come in."}, relayed...)
	case slices.ContainsFunc(c.PortMappings, func(p control.PortMapping) bool {
		return p.Outside.IsValid() && !isPublic(p.Outside.Addr())
	}):
		return append([]string{"The provider has a NAT of its own behind which the router is, so forwarding a port there",
			"does not help. Ask the provider for a public IPv4 address, or use IPv6."}, relayed...)
	case slices.ContainsFunc(c.PortMappings, func(p control.PortMapping) bool { return p.Outside.IsValid() }):
		return append([]string{"The router says that it lets others in, and they do not get in: a second router or the",
			fmt.Sprintf("provider may be in between, or a firewall on this machine keeps them out: allow UDP port %d.", port)}, relayed...)
	case behindNAT(c):
		lines := []string{
			"Switch on UPnP, NAT-PMP or PCP in the router, or forward UDP port " + fmt.Sprint(port) + " in it to",
			"this machine" + localAddr(c) + ". Nothing else is needed: the node finds out by itself.",
		}
		return append(lines, relayed...)
	}
	return append([]string{fmt.Sprintf("A firewall, on this machine or before it, keeps others out: allow UDP port %d to come in.", port)}, relayed...)
}

// behindNAT reports whether others see the node at an IPv4 address that it does not have.
func behindNAT(c control.Netcheck) bool {
	return c.IPv4.Outside.IsValid() && !slices.ContainsFunc(c.Addrs, func(a control.OwnAddr) bool {
		ap, ok := addrPortOf(a.Addr)
		return ok && a.Known == "own" && ap.Addr() == c.IPv4.Outside
	})
}

// portOf is the port that the node listens on.
func portOf(c control.Netcheck) int {
	for _, a := range c.Addrs {
		if ap, ok := addrPortOf(a.Addr); ok && a.Known == "own" {
			return int(ap.Port())
		}
	}
	return defaultPort
}

// localAddr names the machine as the router knows it.
func localAddr(c control.Netcheck) string {
	for _, p := range c.PortMappings {
		if p.Local.IsValid() {
			return fmt.Sprintf(", %v", p.Local)
		}
	}
	for _, a := range c.Addrs {
		if ap, ok := addrPortOf(a.Addr); ok && a.Known == "own" && ap.Addr().Is4() && ap.Addr().IsPrivate() {
			return fmt.Sprintf(", %v", ap.Addr())
		}
	}
	return ""
}

func addrPortOf(addr string) (netip.AddrPort, bool) {
	m, err := ma.NewMultiaddr(addr)
	if err != nil {
		return netip.AddrPort{}, false
	}
	a, err := wire.AddrOf(m)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return a.AddrPort()
}

// isPublic reports whether the router's outside address is one of the internet.
func isPublic(a netip.Addr) bool {
	return !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}
