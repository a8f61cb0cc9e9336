package wire

// DialBack asks to find out whether a peer can be reached at one of its
// addresses. Peer A sends it to B about itself. B sends it, with A as Peer, to C,
// to which A has sent nothing.
type DialBack struct {
	Addrs []Addr // at most MaxDialBack, always IP addresses; the first that can be dialled is
	Peer  PeerID // to dial; zero: the asker, which another peer shall dial
	// Padding is how many bytes of no meaning the request carries: DialBytes at
	// least if an address has another IP than the answerer sees the asker at.
	Padding int
}

// Dialled answers DialBack.
type Dialled struct {
	Addr Addr   // that was dialled, always an IP address
	By   PeerID // the peer that dialled
	Code Code   // CodeOK: the peer was reached there; CodeUnreachable
}

func (m DialBack) size() (n int) {
	for _, a := range m.Addrs {
		n += sizeField(len(a))
	}
	if !m.Peer.IsZero() {
		n += sizeField(len(m.Peer))
	}
	return n + sizeBytes(m.Padding)
}

func (m DialBack) encode(b []byte) []byte {
	for _, a := range m.Addrs {
		b = append(appendHead(b, 1, len(a)), a...)
	}
	if !m.Peer.IsZero() {
		b = appendBytes(b, 2, m.Peer[:])
	}
	return appendPadding(b, 3, m.Padding)
}

func (m Dialled) size() int {
	return sizeBytes(len(m.Addr)) + sizeField(len(m.By)) + sizeUint(uint64(m.Code))
}

func (m Dialled) encode(b []byte) []byte {
	b = appendBytes(b, 1, m.Addr)
	b = appendBytes(b, 2, m.By[:])
	return appendUint(b, 3, uint64(m.Code))
}

func parseDialBack(b []byte) (m DialBack, why reason) {
	addrs := 0
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			if addrs++; addrs > MaxDialBack {
				return DialBack{}, tooManyAddrs
			}
			if a := parseSeen(c.data()); a != "" {
				m.Addrs = append(m.Addrs, a)
			}
		case c.is(2, bytesType):
			if len(c.data()) != len(m.Peer) || !PeerID(c.data()).IsValid() {
				return DialBack{}, badPeerID
			}
			m.Peer = PeerID(c.data())
		case c.is(3, bytesType):
			m.Padding = len(c.data())
		}
	}
	return m, c.or("")
}

func parseDialled(b []byte) (m Dialled, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			m.Addr = parseSeen(c.data())
		case c.is(2, bytesType):
			if len(c.data()) != len(m.By) {
				return Dialled{}, badPeerID
			}
			m.By = PeerID(c.data())
		case c.is(3, varintType):
			m.Code, why = parseCode(c.bits)
		}
	}
	if why == "" && !c.bad && !m.By.IsValid() {
		why = badPeerID
	}
	return m, c.or(why)
}
