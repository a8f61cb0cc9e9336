package main

import (
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kadquic/kadquic/wire"
)

const maxTicketAddrs = 6

// A ticket says who somebody is, and where, so that nobody need be asked: in one
// word ID@ADDR,ADDR,… with addresses of a socket or at a relay, as node.Addrs has
// them, less the /p2p/ID. A bare ID is a ticket as well, and so is one address.
type ticket struct {
	id    wire.PeerID
	addrs []ma.Multiaddr // each with its /p2p/ID; best first
}

func (t ticket) String() string {
	var at []string
	for _, a := range t.addrs {
		if len(at) < maxTicketAddrs && (len(at) == 0 || !manet.IsIPLoopback(a)) {
			at = append(at, strings.TrimSuffix(a.String(), "/p2p/"+t.id.String()))
		}
	}
	return t.id.String() + "@" + strings.Join(at, ",")
}

func parseTicket(s string) (t ticket, err error) {
	id, at, _ := strings.Cut(s, "@")
	if i := strings.LastIndex(s, "/p2p/"); strings.HasPrefix(s, "/") && i > 0 {
		id, at = s[i+len("/p2p/"):], s[:i]
	}
	if t.id, err = wire.ParsePeerID(id); err != nil || at == "" {
		return t, err
	}
	for a := range strings.SplitSeq(at, ",") {
		m, err := ma.NewMultiaddr(a + "/p2p/" + t.id.String())
		if err != nil {
			return t, err
		}
		t.addrs = append(t.addrs, m)
	}
	return t, nil
}
