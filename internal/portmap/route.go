package portmap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-netroute"
)

// A route is the IPv4 default route of this machine.
type route struct {
	local   netip.Addr // the machine's address
	gateway netip.Addr
}

var errNoGateway = errors.New("there is no IPv4 gateway")

// defaultRoute asks the system for the route to a public address. It sends no packet.
func defaultRoute() (route, error) {
	r, err := netroute.New()
	if err != nil {
		return route{}, fmt.Errorf("portmap: routes: %w", err)
	}
	_, gateway, local, err := r.Route(net.IPv4(1, 1, 1, 1))
	if err != nil {
		return route{}, fmt.Errorf("%w: %w", errNoGateway, err)
	}
	g, ok := netip.AddrFromSlice(gateway.To4())
	l, ok2 := netip.AddrFromSlice(local.To4())
	if !ok || !ok2 || g.IsUnspecified() {
		return route{}, errNoGateway
	}
	return route{l, g}, nil
}
