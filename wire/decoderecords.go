package wire

func parseFindValue(b []byte) (m FindValue, why reason) {
	why = noKey
	kind := uint32(0)
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			why = parseKey(&m.Key, c.data())
		case c.is(2, varintType):
			kind = uint32(c.bits)
		case c.is(3, varintType):
			m.Count = parseCount(c.bits)
		case c.is(4, varintType):
			m.All = c.bits != 0
		case c.is(5, bytesType):
			if len(c.data()) != len(m.After) {
				return m, badPeerID
			}
			m.After = PeerID(c.data())
		}
	}
	if why = c.or(why); why != "" {
		return m, why
	}
	switch {
	case kind == 0:
		return m, noKind
	case !Kind(min(kind, 0xff)).Known():
		return m, unknownKind
	}
	m.Kind = Kind(kind)
	return m, ""
}

func parseValue(b []byte) (m Value, why reason) {
	var contacts contactList
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			m.Records, why = parseAnother(m.Records, c.data(), MaxPage)
		case c.is(2, bytesType):
			why = contacts.add(c.data())
		case c.is(3, varintType):
			m.More = c.bits != 0
		}
	}
	if why = c.or(why); why == "" {
		m.Contacts, why = contacts.parse()
	}
	return m, why
}

func parseStore(b []byte) (m Store, why reason) {
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			m.Records, why = parseAnother(m.Records, c.data(), MaxStore)
		case c.is(2, varintType):
			m.Count = parseCount(c.bits)
		case c.is(3, bytesType):
			why = parseKey(&m.Bound, c.data())
		case c.is(4, varintType):
			seq := c.bits
			m.IfSeq = &seq
		}
	}
	switch {
	case why != "" || c.bad:
	case len(m.Records) == 0:
		why = noRecords
	case m.IfSeq != nil && (len(m.Records) != 1 || m.Records[0].Record.Kind != KindOwned):
		why = badIfSeq
	}
	return m, c.or(why)
}

func parseStored(b []byte) (m Stored, why reason) {
	var contacts contactList
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, varintType):
			why = m.parseResult(c.bits)
		case c.is(1, bytesType): // packed, as it is written
			for list := scan(c.data()); why == "" && list.at < len(list.in); {
				v, ok := list.varint()
				if !ok {
					return m, notProtobuf
				}
				why = m.parseResult(v)
			}
		case c.is(2, bytesType):
			why = contacts.add(c.data())
		}
	}
	if why = c.or(why); why == "" {
		m.Contacts, why = contacts.parse()
	}
	return m, why
}

func (m *Stored) parseResult(v uint64) reason {
	code, why := parseCode(v)
	if why == "" && len(m.Results) == MaxStore {
		why = tooManyRecords
	}
	m.Results = append(m.Results, code)
	return why
}

func parseGetProviders(b []byte) (m GetProviders, why reason) {
	why = noKey
	c := scan(b)
	for c.next() {
		switch {
		case c.is(1, bytesType):
			why = parseKey(&m.Key, c.data())
		case c.is(2, varintType):
			m.Count = parseCount(c.bits)
		case c.is(3, bytesType):
			if len(c.data()) != len(m.After) {
				return m, badPeerID
			}
			m.After = PeerID(c.data())
		}
	}
	return m, c.or(why)
}

func parseProviders(b []byte) (m Providers, why reason) {
	var contacts contactList
	c := scan(b)
	for why == "" && c.next() {
		switch {
		case c.is(1, bytesType):
			m.Records, why = parseAnother(m.Records, c.data(), MaxPage)
		case c.is(2, varintType):
			m.More = c.bits != 0
		case c.is(3, bytesType):
			why = contacts.add(c.data())
		}
	}
	if why = c.or(why); why == "" {
		m.Contacts, why = contacts.parse()
	}
	return m, why
}
