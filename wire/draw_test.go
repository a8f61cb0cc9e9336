package wire

import (
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
)

// bodies are the types that have a name.
var bodies = func() (types []int) {
	for typ, name := range bodyNames {
		if name != "" {
			types = append(types, typ)
		}
	}
	return types
}()

// drawFrame draws any frame within the limits.
func drawFrame(t *rapid.T) Frame {
	f := Frame{ID: rapid.Uint64().Draw(t, "id")}
	switch rapid.SampledFrom(bodies).Draw(t, "type") {
	case bodyHello:
		m := Hello{Mode: drawMode(t), Agent: drawText(t, MaxAgent), Observed: drawIP(t), DialBack: rapid.Bool().Draw(t, "dial back")}
		if rapid.Bool().Draw(t, "clock") {
			m.Clock = time.UnixMilli(rapid.Int64Range(1, maxMillis).Draw(t, "ms")).UTC()
		}
		if rapid.Bool().Draw(t, "record") {
			m.Record = drawSigned(t)
		}
		f.Body = m
	case bodyError:
		f.Body = Error{Code: Code(rapid.Uint32Range(1, 1<<31-1).Draw(t, "code")), Message: drawText(t, MaxErrorText)}
	case bodyPing:
		f.Body = Ping{}
	case bodyPong:
		f.Body = Pong{}
	case bodyFindNode:
		f.Body = FindNode{Key: drawKey(t), Count: drawCount(t)}
	case bodyNodes:
		m := Nodes{Contacts: drawContacts(t)}
		if rapid.Bool().Draw(t, "record") {
			m.Record = drawSigned(t)
		}
		f.Body = m
	case bodyFindValue:
		m := FindValue{Key: drawKey(t), Kind: Kind(rapid.IntRange(1, 5).Draw(t, "kind")), Count: drawCount(t), All: rapid.Bool().Draw(t, "all")}
		if rapid.Bool().Draw(t, "behind") {
			m.After = drawID(t)
		}
		f.Body = m
	case bodyValue:
		f.Body = Value{Records: drawSigneds(t, 0, MaxRecords), Contacts: drawContacts(t), More: rapid.Bool().Draw(t, "more")}
	case bodyStore:
		m := Store{Records: drawSigneds(t, 1, 8), Count: drawCount(t)}
		if rapid.Bool().Draw(t, "bounded") {
			m.Bound = drawKey(t)
		}
		if rapid.Bool().Draw(t, "conditional") {
			seq := rapid.Uint64().Draw(t, "if_seq")
			m.Records, m.IfSeq = []*Signed{drawSignedOf(t, KindOwned)}, &seq
		}
		f.Body = m
	case bodyStored:
		m := Stored{Contacts: drawContacts(t)}
		for range rapid.IntRange(0, MaxStore).Draw(t, "results") {
			m.Results = append(m.Results, Code(rapid.Uint32Range(0, 1<<31-1).Draw(t, "code")))
		}
		f.Body = m
	case bodyObserved:
		f.Body = Observed{Addr: drawIP(t)}
	case bodyGetProviders:
		m := GetProviders{Key: drawKey(t), Count: drawCount(t)}
		if rapid.Bool().Draw(t, "behind") {
			m.After = drawID(t)
		}
		f.Body = m
	case bodyProviders:
		f.Body = Providers{Records: drawSigneds(t, 0, MaxPage), More: rapid.Bool().Draw(t, "more"), Contacts: drawContacts(t)}
	case bodyOffer:
		var m Offer
		for range rapid.IntRange(1, 40).Draw(t, "offered") {
			m.Records = append(m.Records, Offered{Kind: Kind(rapid.IntRange(1, 255).Draw(t, "kind")), Key: drawKey(t), Print: drawPrint(t)})
		}
		f.Body = m
	case bodyWanted:
		f.Body = Wanted{Wants: drawBytes(t, MaxOffer/8)}
	case bodyDialBack:
		m := DialBack{Addrs: []Addr{addr6}, Padding: rapid.IntRange(0, 6000).Draw(t, "padding")}
		for range rapid.IntRange(0, MaxDialBack-1).Draw(t, "addrs") {
			if a := drawIP(t); a != "" {
				m.Addrs = append(m.Addrs, a)
			}
		}
		if rapid.Bool().Draw(t, "for another") {
			m.Peer = drawID(t)
		}
		f.Body = m
	case bodyDialled:
		f.Body = Dialled{Addr: drawIP(t), By: drawID(t), Code: Code(rapid.Uint32Range(0, 1<<31-1).Draw(t, "code"))}
	case bodyReserve:
		f.Body = Reserve{Release: rapid.Bool().Draw(t, "release")}
	case bodyReserved:
		f.Body = Reserved{Lifetime: time.Duration(rapid.Uint32().Draw(t, "lifetime")) * time.Second, Rate: rapid.IntRange(0, 1<<31-1).Draw(t, "rate")}
	case bodyCall:
		f.Body = Call{Peer: drawID(t), Offer: append(drawBytes(t, MaxCandidateOffer-1), 1), Seen: drawIP(t), Padding: rapid.IntRange(0, MaxPadding).Draw(t, "padding"), Passed: rapid.Bool().Draw(t, "passed")}
	case bodyCalled:
		f.Body = Called{Offer: append(drawBytes(t, MaxCandidateOffer-1), 1), Seen: drawIP(t), Padding: rapid.IntRange(0, MaxPadding).Draw(t, "padding")}
	}
	return f
}

func drawMode(t *rapid.T) Mode {
	return rapid.SampledFrom([]Mode{ModeServer, ModeClient}).Draw(t, "mode")
}

func drawCount(t *rapid.T) int { return rapid.IntRange(0, MaxContacts).Draw(t, "count") }

func drawKey(t *rapid.T) routing.Key {
	return routing.KeyOf(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "key"))
}

func drawPrint(t *rapid.T) Print {
	k := drawKey(t)
	return Print(k[:16])
}

func drawID(t *rapid.T) PeerID { return PeerID(drawKey(t)) }

func drawText(t *rapid.T, max int) string {
	return rapid.StringN(0, -1, max).Draw(t, "text")
}

func drawBytes(t *rapid.T, max int) []byte {
	n := rapid.IntRange(0, max).Draw(t, "length")
	if n == 0 {
		return nil
	}
	return append(make([]byte, n-1), rapid.Byte().Draw(t, "last"))
}

// drawIP draws an IP address, or none.
func drawIP(t *rapid.T) Addr {
	port := uint16(rapid.IntRange(0, 65535).Draw(t, "port"))
	ip := netip.AddrFrom4([4]byte([]byte(drawKey(t).String()[:4])))
	if rapid.Bool().Draw(t, "ip6") {
		ip = netip.AddrFrom16([16]byte([]byte(drawKey(t).String()[:16])))
	}
	return AddrFrom(netip.AddrPortFrom(ip, port))
}

func drawContacts(t *rapid.T) (out []Contact) {
	for range drawCount(t) {
		c := Contact{ID: drawID(t)}
		for range rapid.IntRange(0, MaxAddrs).Draw(t, "addrs") {
			a := addrDNS
			if rapid.IntRange(0, 3).Draw(t, "name") > 0 {
				a = drawIP(t)
			}
			if a != "" {
				c.Addrs = append(c.Addrs, a)
			}
		}
		out = append(out, c)
	}
	return out
}

// drawSigned draws a record of any kind, perhaps unknown, without a valid signature.
func drawSigned(t *rapid.T) *Signed {
	return drawSignedOf(t, Kind(rapid.IntRange(1, 255).Draw(t, "kind")))
}

func drawSignedOf(t *rapid.T, kind Kind) *Signed {
	r := Record{
		Kind: kind, Key: drawKey(t), Publisher: drawID(t),
		Name: drawBytes(t, MaxName), Seq: rapid.Uint64().Draw(t, "seq"),
		Expiry: time.UnixMilli(rapid.Int64Range(1, maxMillis).Draw(t, "expiry")).UTC(),
		Value:  drawBytes(t, MaxValue),
	}
	s := &Signed{Record: r, Payload: appendRecord(nil, &r)}
	s.Signature[0] = rapid.Byte().Draw(t, "signature")
	return s
}

func drawSigneds(t *rapid.T, low, high int) (out []*Signed) {
	for range rapid.IntRange(low, high).Draw(t, "records") {
		out = append(out, drawSigned(t))
	}
	return out
}
