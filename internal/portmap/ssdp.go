package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/ipv4"
)

// ssdpGroup is the multicast group of searches (UPnP Device Architecture 1.1 §1.3.2).
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

// searchFor lists the devices that map ports. Devices of version 2 should answer a search
// for version 1 as well, but some do not.
var searchFor = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// search returns the URL of the gateway's description. It sends to the multicast group,
// and to the gateway itself in case multicast is lost. It accepts only an answer from the
// gateway with a URL at the gateway.
func search(ctx context.Context, local netip.Addr, group, gateway netip.AddrPort) (*url.URL, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sendFrom(c, local)

	buf := make([]byte, 4096)
	wait := 2 * firstWait
	for range tries - 1 {
		c.SetDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var sent, failed error = errSilent, nil
		for _, to := range []netip.AddrPort{group, gateway} {
			for _, device := range searchFor {
				if _, failed = c.WriteToUDPAddrPort(ssdpSearch(device), to); failed == nil {
					sent = nil
				}
			}
		}
		if sent != nil {
			return nil, failed
		}
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				break // a timeout, or a refused connection: the next try decides
			}
			if from.Addr().Unmap() != gateway.Addr() {
				continue
			}
			if at, err := parseSSDP(buf[:n]); err == nil && isAt(at, gateway.Addr()) {
				return at, nil
			}
		}
		wait *= 2
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errSilent
}

// sendFrom selects the interface with the address local for multicast. If that fails, the
// system chooses.
func sendFrom(c *net.UDPConn, local netip.Addr) {
	p := ipv4.NewPacketConn(c)
	p.SetMulticastTTL(2) // UPnP Device Architecture 1.1 §1.3.2
	all, _ := net.Interfaces()
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(local.AsSlice()) {
				p.SetMulticastInterface(&i)
				return
			}
		}
	}
}

func ssdpSearch(device string) []byte {
	return fmt.Appendf(nil, "M-SEARCH * HTTP/1.1\r\nHOST: %v\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", ssdpGroup, device)
}

var errSSDP = errors.New("not an answer to a search")

// parseSSDP returns the URL of the description from the answer to a search.
func parseSSDP(b []byte) (*url.URL, error) {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, err
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, errSSDP
	}
	return url.Parse(r.Header.Get("Location"))
}

// isAt reports whether u is a plain HTTP URL with ip as its literal host.
func isAt(u *url.URL, ip netip.Addr) bool {
	host, err := netip.ParseAddr(u.Hostname())
	return err == nil && u.Scheme == "http" && host.Unmap() == ip
}
