package client

import (
	"slices"
	"time"

	"github.com/kadquic/kadquic/internal/relay"
	"github.com/kadquic/kadquic/wire"
)

// A relayState is the state of one link to a relay. Client.mu guards all but link.
type relayState struct {
	link    Link
	unheard bool            // nothing arrived from the relay during the latest check
	checked time.Time       // when CheckRelays last pinged it; zero: never
	early   []earlyDatagram // from peers without a route yet
}

// An earlyDatagram is a datagram that arrived before the call it belongs to: a DATAGRAM
// frame may overtake the stream.
type earlyDatagram struct {
	at       time.Time
	datagram relay.Datagram
}

const (
	maxEarly  = 16 // of one link
	earlyLife = time.Second
)

// hasEnded reports whether the connection to the relay has ended.
func (s *relayState) hasEnded() bool {
	select {
	case <-s.link.Done():
		return true
	default:
		return false
	}
}

// addEarly keeps a datagram for at most earlyLife.
func (s *relayState) addEarly(d relay.Datagram, now time.Time) {
	s.early = slices.DeleteFunc(s.early, func(e earlyDatagram) bool { return now.Sub(e.at) > earlyLife })
	if len(s.early) < maxEarly {
		s.early = append(s.early, earlyDatagram{now, d})
	}
}

// takeEarly removes the early datagrams of a peer and returns those that are not too old.
func (s *relayState) takeEarly(peer wire.PeerID, now time.Time) (early []relay.Datagram) {
	s.early = slices.DeleteFunc(s.early, func(e earlyDatagram) bool {
		if e.datagram.Peer != peer {
			return false
		}
		if now.Sub(e.at) <= earlyLife {
			early = append(early, e.datagram)
		}
		return true
	})
	return early
}

// stateLocked returns the state of a link.
func (c *Client) stateLocked(l Link) *relayState {
	s := c.relays[l]
	if s == nil {
		s = &relayState{link: l}
		c.relays[l] = s
	}
	return s
}
