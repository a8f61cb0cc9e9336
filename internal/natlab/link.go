package natlab

import (
	"fmt"
	"time"
)

// A Link describes what joins a public host, or a NAT, to the internet. The zero value
// loses nothing, delays nothing, and takes packets of 1500 bytes.
//
// All but MTU make of the link two TUN devices with this process between them, which
// cuts big sends to packets of the MTU and moves some 50,000 a second, instead of the
// kernel's veth, which is ten times as fast: measure throughput without them.
type Link struct {
	Delay  time.Duration // of every packet, one way; it comes up to 1 ms later than that
	Jitter time.Duration // up to so much more, at random; packets keep their order
	Loss   float64       // the chance of a packet to be lost, from 0 to 1
	Rate   int           // bits per second, with a queue of 50 ms or 64 KiB, if that is more; no limit if zero
	MTU    int           // bytes of the largest packet; 1500 if zero
}

func (l Link) mtu() int {
	if l.MTU == 0 {
		return 1500
	}
	return l.MTU
}

func (l Link) plain() bool { return l.Delay == 0 && l.Jitter == 0 && l.Loss == 0 && l.Rate == 0 }

// A cable joins a device in one namespace to one in another.
type cable struct {
	ends [2]end
	wire *wire // nil for a veth
}

type end struct {
	ns  *namespace
	dev string
}

// plug joins two ends by a new cable.
func plug(near, far end, link Link) (*cable, error) {
	c := &cable{ends: [2]end{near, far}}
	if link.plain() {
		err := near.ns.ip("link add name %s mtu %d type veth peer name %s mtu %d netns %s",
			near.dev, link.mtu(), far.dev, link.mtu(), far.ns.path)
		if err != nil {
			return nil, err
		}
	} else {
		var err error
		if c.wire, err = newWire(near, far, link); err != nil {
			return nil, err
		}
	}
	for _, e := range c.ends {
		if err := e.ns.ip("link set dev %s mtu %d txqueuelen 1000 up", e.dev, link.mtu()); err != nil {
			c.unplug()
			return nil, err
		}
	}
	return c, nil
}

// unplug takes both devices away.
func (c *cable) unplug() error {
	if c.wire != nil {
		c.wire.close()
		return nil
	}
	return c.ends[0].ns.ip("link del dev %s", c.ends[0].dev)
}

// cut lets nothing more through, and tells neither end.
func (c *cable) cut() error {
	for _, e := range c.ends {
		if err := e.ns.nft(cutRules(e.dev)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cable) restore() error {
	for _, e := range c.ends {
		if err := e.ns.nft(fmt.Sprintf("table netdev cut_%[1]s\ndelete table netdev cut_%[1]s\n", e.dev)); err != nil {
			return err
		}
	}
	return nil
}

// cutRules drop what arrives by a device. To drop what leaves would fail the sends.
func cutRules(dev string) string {
	return fmt.Sprintf("table netdev cut_%[1]s { chain in { type filter hook ingress device \"%[1]s\" priority 0; policy drop; }; }\n", dev)
}
