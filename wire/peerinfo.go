package wire

import "fmt"

// PeerInfo is a peer's description of itself in its signed peer record.
type PeerInfo struct {
	Mode   Mode
	Addrs  []Addr   // where it may be dialled; at most MaxAddrs, the best first
	Relays []PeerID // who relays to it; at most MaxRelays
}

// Value encodes p as the value of a peer or provider record. The error wraps
// ErrRecord and says which limit p exceeds.
func (p PeerInfo) Value() ([]byte, error) {
	switch {
	case p.Mode == 0:
		return nil, fmt.Errorf("%w: peer without mode", ErrRecord)
	case len(p.Addrs) > MaxAddrs:
		return nil, fmt.Errorf("%w: %d addresses, over %d", ErrRecord, len(p.Addrs), MaxAddrs)
	case len(p.Relays) > MaxRelays:
		return nil, fmt.Errorf("%w: %d relays, over %d", ErrRecord, len(p.Relays), MaxRelays)
	}
	b := appendUint(nil, 1, uint64(p.Mode))
	for _, a := range p.Addrs {
		if !validAddr([]byte(a)) {
			return nil, fmt.Errorf("%w: address %q", ErrRecord, string(a))
		}
		b = append(appendHead(b, 2, len(a)), a...)
	}
	for _, id := range p.Relays {
		if !id.IsValid() {
			return nil, fmt.Errorf("%w: relay %x is no peer ID", ErrRecord, id[:])
		}
		b = append(appendHead(b, 3, len(id)), id[:]...)
	}
	return b, nil
}

// PeerInfo reads the value of a peer record, or of a provider record that has
// one. Addresses of a form not known here are left out. The error wraps
// ErrRecord. The result shares no memory with r.
func (r Record) PeerInfo() (PeerInfo, error) {
	if r.Kind != KindPeer && r.Kind != KindProvider {
		return PeerInfo{}, fmt.Errorf("%w: kind %v has no peer info", ErrRecord, r.Kind)
	}
	p, why := parsePeerInfo(r.Value)
	if why != "" {
		return PeerInfo{}, fmt.Errorf("%w: peer info: %s", ErrRecord, why)
	}
	return p, nil
}

func parsePeerInfo(b []byte) (p PeerInfo, why reason) {
	if len(b) > MaxPeerRecord {
		return p, tooLong
	}
	var list addrList
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, varintType):
			p.Mode = modeOf(c.bits)
		case c.is(2, bytesType):
			if !list.add(c.data()) {
				return PeerInfo{}, tooManyAddrs
			}
		case c.is(3, bytesType):
			if len(c.data()) != len(PeerID{}) || !PeerID(c.data()).IsValid() {
				return PeerInfo{}, badPeerID
			}
			if len(p.Relays) == MaxRelays {
				return PeerInfo{}, tooManyRelays
			}
			p.Relays = append(p.Relays, PeerID(c.data()))
		}
	}
	switch {
	case c.bad:
		return PeerInfo{}, notProtobuf
	case p.Mode == 0:
		return PeerInfo{}, badMode
	}
	p.Addrs = list.end()
	return p, ""
}

// modeOf reads a mode, of which protobuf takes 32 bits. One not known here is
// no server's, so it counts as a client's.
func modeOf(v uint64) Mode { return Mode(min(uint32(v), uint32(ModeClient))) }
