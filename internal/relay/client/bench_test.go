package client

import (
	"log/slog"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/background"
	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// discards is a link that takes every datagram.
type discards struct{ *fakeLink }

func (discards) SendDatagram([]byte) bool { return true }

// quietHost counts packets, and keeps none.
type quietHost struct {
	*fakeHost
	packets int
}

func (h *quietHost) ReadDatagrams(Link)          {}
func (h *quietHost) Deliver(wire.PeerID, []byte) { h.packets++ }

// pair returns a client with a route to the peer over a link.
func pair() (c *Client, l Link, peer wire.PeerID, h *quietHost) {
	h = &quietHost{fakeHost: &fakeHost{links: make(map[wire.PeerID]*fakeLink)}}
	c = New(Config{Host: h, Background: background.NewGroup(), Logger: slog.New(slog.DiscardHandler), RPCTimeout: time.Second})
	l, peer = discards{h.link(0, 1, grants)}, peerID(100)
	c.SetRoute(peer, l)
	return c, l, peer, h
}

// A packet that arrives whole costs no allocation: a relay may carry thousands a second.
func TestReceivingAPacketAllocatesNothing(t *testing.T) {
	c, l, peer, h := pair()
	d := relay.Datagram{From: true, Peer: peer, Content: make([]byte, 1100)}
	if n := testing.AllocsPerRun(100, func() { c.HandleDatagram(l, d) }); n > 0 || h.packets == 0 {
		t.Errorf("%v allocations a packet, %d packets", n, h.packets)
	}
}

func BenchmarkSend(b *testing.B) {
	c, _, peer, _ := pair()
	packet := make([]byte, 1100)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		c.Send(peer, packet)
	}
}

func BenchmarkHandleDatagram(b *testing.B) {
	c, l, peer, _ := pair()
	d := relay.Datagram{From: true, Peer: peer, Content: make([]byte, 1100)}
	b.SetBytes(int64(len(d.Content)))
	b.ReportAllocs()
	for b.Loop() {
		c.HandleDatagram(l, d)
	}
}
