package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// portPCP is where gateways listen for PCP and NAT-PMP, RFC 6887 §19.1.
const portPCP = 5351

const (
	// firstWait is the timeout of the first request; each retransmission doubles it
	// (RFC 6886 §3.1). PCP begins with 3 seconds (RFC 6887 §8.1.1), which is long for a
	// LAN.
	firstWait = 250 * time.Millisecond
	// tries bounds the requests. ask gives up after 3.75 seconds.
	tries = 4
)

// ask sends a request to the gateway, and repeats it until suits accepts an answer. The
// socket is connected, so the kernel drops packets of other senders. suits returns
// errNotMine for a packet that does not answer this request; any other error ends ask.
func ask[T any](ctx context.Context, local netip.Addr, to netip.AddrPort, request []byte, suits func([]byte) (T, error)) (answer T, err error) {
	c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		return answer, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	buf := make([]byte, 1500)
	wait := firstWait
	for range tries {
		c.SetDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return answer, ctx.Err()
		}
		if _, err := c.Write(request); err != nil {
			return answer, err
		}
		for {
			n, err := c.Read(buf)
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				break
			}
			if err != nil { // such as connection refused
				return answer, err
			}
			answer, err = suits(buf[:n])
			if !errors.Is(err, errNotMine) {
				return answer, err
			}
		}
		if ctx.Err() != nil {
			return answer, ctx.Err()
		}
		wait *= 2
	}
	return answer, fmt.Errorf("%w from %v", errSilent, to)
}

// errNotMine means that a packet does not answer the request.
var errNotMine = errors.New("not an answer to this request")
