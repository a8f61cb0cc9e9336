package wire

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire/pb"
)

// toPB says f in the generated types, field by field.
func toPB(f Frame) *pb.Frame {
	p := &pb.Frame{Id: f.ID}
	switch m := f.Body.(type) {
	case Hello:
		h := &pb.Hello{Mode: pb.Mode(m.Mode), Agent: m.Agent, Observed: []byte(m.Observed), Record: signedToPB(m.Record), DialBack: m.DialBack}
		if !m.Clock.IsZero() {
			h.Clock = uint64(m.Clock.UnixMilli())
		}
		p.Body = &pb.Frame_Hello{Hello: h}
	case Error:
		p.Body = &pb.Frame_Error{Error: &pb.Error{Code: pb.Code(m.Code), Message: m.Message}}
	case Ping:
		p.Body = &pb.Frame_Ping{Ping: &pb.Ping{}}
	case Pong:
		p.Body = &pb.Frame_Pong{Pong: &pb.Pong{}}
	case FindNode:
		p.Body = &pb.Frame_FindNode{FindNode: &pb.FindNode{Key: m.Key[:], Count: uint32(m.Count)}}
	case Nodes:
		p.Body = &pb.Frame_Nodes{Nodes: &pb.Nodes{Contacts: contactsToPB(m.Contacts), Record: signedToPB(m.Record)}}
	case FindValue:
		v := &pb.FindValue{Key: m.Key[:], Kind: pb.Kind(m.Kind), Count: uint32(m.Count), All: m.All}
		if !m.After.IsZero() {
			v.After = m.After[:]
		}
		p.Body = &pb.Frame_FindValue{FindValue: v}
	case Value:
		p.Body = &pb.Frame_Value{Value: &pb.Value{Records: signedsToPB(m.Records), Contacts: contactsToPB(m.Contacts), More: m.More}}
	case Store:
		s := &pb.Store{Records: signedsToPB(m.Records), Count: uint32(m.Count)}
		if m.Bound != (routing.Key{}) {
			s.Bound = m.Bound[:]
		}
		s.IfSeq = m.IfSeq
		p.Body = &pb.Frame_Store{Store: s}
	case Stored:
		s := &pb.Stored{Contacts: contactsToPB(m.Contacts)}
		for _, c := range m.Results {
			s.Results = append(s.Results, pb.Code(c))
		}
		p.Body = &pb.Frame_Stored{Stored: s}
	case Observed:
		p.Body = &pb.Frame_Observed{Observed: &pb.Observed{Addr: []byte(m.Addr)}}
	case GetProviders:
		g := &pb.GetProviders{Key: m.Key[:], Count: uint32(m.Count)}
		if !m.After.IsZero() {
			g.After = m.After[:]
		}
		p.Body = &pb.Frame_GetProviders{GetProviders: g}
	case Providers:
		p.Body = &pb.Frame_Providers_{Providers_: &pb.Providers{Records: signedsToPB(m.Records), More: m.More, Contacts: contactsToPB(m.Contacts)}}
	case Offer:
		o := &pb.Offer{}
		for _, r := range m.Records {
			o.Records = append(o.Records, &pb.Offered{Kind: pb.Kind(r.Kind), Key: r.Key[:], Print: r.Print[:]})
		}
		p.Body = &pb.Frame_Offer{Offer: o}
	case Wanted:
		p.Body = &pb.Frame_Wanted{Wanted: &pb.Wanted{Wants: m.Wants}}
	case DialBack:
		d := &pb.DialBack{Padding: make([]byte, m.Padding)}
		for _, a := range m.Addrs {
			d.Addrs = append(d.Addrs, []byte(a))
		}
		if !m.Peer.IsZero() {
			d.Peer = m.Peer[:]
		}
		p.Body = &pb.Frame_DialBack{DialBack: d}
	case Dialled:
		p.Body = &pb.Frame_Dialled{Dialled: &pb.Dialled{Addr: []byte(m.Addr), By: m.By[:], Code: pb.Code(m.Code)}}
	case Reserve:
		p.Body = &pb.Frame_Reserve{Reserve: &pb.Reserve{Release: m.Release}}
	case Reserved:
		p.Body = &pb.Frame_Reserved{Reserved: &pb.Reserved{Lifetime: uint32(m.Lifetime / time.Second), Rate: uint32(m.Rate)}}
	case Call:
		p.Body = &pb.Frame_Call{Call: &pb.Call{Peer: m.Peer[:], Intro: m.Offer, Seen: []byte(m.Seen), Padding: make([]byte, m.Padding), Passed: m.Passed}}
	case Called:
		p.Body = &pb.Frame_Called{Called: &pb.Called{Intro: m.Offer, Seen: []byte(m.Seen), Padding: make([]byte, m.Padding)}}
	}
	return p
}

func candidateOfferToPB(i CandidateOffer) *pb.Introduction {
	p := &pb.Introduction{From: i.From[:], To: i.To[:], Key: i.Key[:], At: uint64(i.At.UnixMilli()), Mapping: pb.Mapping(i.Mapping), Birthday: i.Birthday}
	if i.Reply != [32]byte{} {
		p.Reply = i.Reply[:]
	}
	for _, a := range i.Addrs {
		p.Addrs = append(p.Addrs, []byte(a))
	}
	return p
}

func contactsToPB(cs []Contact) (out []*pb.Contact) {
	for _, c := range cs {
		p := &pb.Contact{Id: c.ID[:]}
		for _, a := range c.Addrs {
			p.Addrs = append(p.Addrs, []byte(a))
		}
		out = append(out, p)
	}
	return out
}

func signedToPB(s *Signed) *pb.Signed {
	if s == nil {
		return nil
	}
	return &pb.Signed{Payload: s.Payload, Signature: s.Signature[:]}
}

func signedsToPB(ss []*Signed) (out []*pb.Signed) {
	for _, s := range ss {
		out = append(out, signedToPB(s))
	}
	return out
}

func recordToPB(r *Record) *pb.Record {
	return &pb.Record{Kind: pb.Kind(r.Kind), Key: r.Key[:], Publisher: r.Publisher[:], Name: r.Name,
		Seq: r.Seq, Expiry: uint64(r.Expiry.UnixMilli()), Value: r.Value}
}

// fromPB converts the generated code's result to the types of this package, by the
// rules of SPEC.md except the limits: it is called for frames that ParseFrame accepts.
func fromPB(p *pb.Frame) Frame {
	f := Frame{ID: p.GetId()}
	switch b := p.GetBody().(type) {
	case *pb.Frame_Hello:
		m := Hello{Mode: modeFromPB(b.Hello.GetMode()), Agent: b.Hello.GetAgent(),
			Observed: seenFromPB(b.Hello.GetObserved()), Record: signedFromPB(b.Hello.GetRecord()), DialBack: b.Hello.GetDialBack()}
		if ms := b.Hello.GetClock(); ms != 0 {
			m.Clock = time.UnixMilli(int64(ms)).UTC()
		}
		f.Body = m
	case *pb.Frame_Error:
		f.Body = Error{Code: Code(b.Error.GetCode()), Message: b.Error.GetMessage()}
	case *pb.Frame_Ping:
		f.Body = Ping{}
	case *pb.Frame_Pong:
		f.Body = Pong{}
	case *pb.Frame_FindNode:
		f.Body = FindNode{Key: routing.Key(b.FindNode.GetKey()), Count: countFromPB(b.FindNode.GetCount())}
	case *pb.Frame_Nodes:
		f.Body = Nodes{Contacts: contactsFromPB(b.Nodes.GetContacts()), Record: signedFromPB(b.Nodes.GetRecord())}
	case *pb.Frame_FindValue:
		m := FindValue{Key: routing.Key(b.FindValue.GetKey()), Kind: Kind(b.FindValue.GetKind()), Count: countFromPB(b.FindValue.GetCount()), All: b.FindValue.GetAll()}
		copy(m.After[:], b.FindValue.GetAfter())
		f.Body = m
	case *pb.Frame_Value:
		f.Body = Value{Records: signedsFromPB(b.Value.GetRecords()), Contacts: contactsFromPB(b.Value.GetContacts()), More: b.Value.GetMore()}
	case *pb.Frame_Store:
		m := Store{Records: signedsFromPB(b.Store.GetRecords()), Count: countFromPB(b.Store.GetCount())}
		copy(m.Bound[:], b.Store.GetBound())
		m.IfSeq = b.Store.IfSeq
		f.Body = m
	case *pb.Frame_Stored:
		m := Stored{Contacts: contactsFromPB(b.Stored.GetContacts())}
		for _, c := range b.Stored.GetResults() {
			m.Results = append(m.Results, Code(c))
		}
		f.Body = m
	case *pb.Frame_Observed:
		f.Body = Observed{Addr: seenFromPB(b.Observed.GetAddr())}
	case *pb.Frame_GetProviders:
		m := GetProviders{Key: routing.Key(b.GetProviders.GetKey()), Count: countFromPB(b.GetProviders.GetCount())}
		copy(m.After[:], b.GetProviders.GetAfter())
		f.Body = m
	case *pb.Frame_Providers_:
		f.Body = Providers{Records: signedsFromPB(b.Providers_.GetRecords()), More: b.Providers_.GetMore(), Contacts: contactsFromPB(b.Providers_.GetContacts())}
	case *pb.Frame_Offer:
		var m Offer
		for _, r := range b.Offer.GetRecords() {
			m.Records = append(m.Records, Offered{Kind: Kind(min(uint32(r.GetKind()), 255)), Key: routing.Key(r.GetKey()), Print: Print(r.GetPrint())})
		}
		f.Body = m
	case *pb.Frame_Wanted:
		f.Body = Wanted{Wants: b.Wanted.GetWants()}
	case *pb.Frame_DialBack:
		m := DialBack{Padding: len(b.DialBack.GetPadding())}
		for _, a := range b.DialBack.GetAddrs() {
			if a := seenFromPB(a); a != "" {
				m.Addrs = append(m.Addrs, a)
			}
		}
		copy(m.Peer[:], b.DialBack.GetPeer())
		f.Body = m
	case *pb.Frame_Dialled:
		f.Body = Dialled{Addr: seenFromPB(b.Dialled.GetAddr()), By: PeerID(b.Dialled.GetBy()), Code: Code(b.Dialled.GetCode())}
	case *pb.Frame_Reserve:
		f.Body = Reserve{Release: b.Reserve.GetRelease()}
	case *pb.Frame_Reserved:
		f.Body = Reserved{Lifetime: time.Duration(b.Reserved.GetLifetime()) * time.Second, Rate: int(min(b.Reserved.GetRate(), 1<<31-1))}
	case *pb.Frame_Call:
		f.Body = Call{Peer: PeerID(b.Call.GetPeer()), Offer: b.Call.GetIntro(), Seen: seenFromPB(b.Call.GetSeen()), Padding: len(b.Call.GetPadding()), Passed: b.Call.GetPassed()}
	case *pb.Frame_Called:
		f.Body = Called{Offer: b.Called.GetIntro(), Seen: seenFromPB(b.Called.GetSeen()), Padding: len(b.Called.GetPadding())}
	}
	return f
}

func candidateOfferFromPB(p *pb.Introduction) CandidateOffer {
	i := CandidateOffer{From: PeerID(p.GetFrom()), To: PeerID(p.GetTo()), Key: [32]byte(p.GetKey()), At: time.UnixMilli(int64(p.GetAt())).UTC(), Birthday: p.GetBirthday()}
	copy(i.Reply[:], p.GetReply())
	if m := p.GetMapping(); m >= 0 && m <= pb.Mapping_MAPPING_RANDOM {
		i.Mapping = Mapping(m)
	}
	for _, b := range p.GetAddrs() {
		if a := seenFromPB(b); a != "" {
			i.Addrs = append(i.Addrs, a)
		}
	}
	return i
}

func countFromPB(n uint32) int { return int(min(n, MaxContacts)) }

func modeFromPB(m pb.Mode) Mode {
	switch m {
	case pb.Mode_MODE_UNSPECIFIED, pb.Mode_MODE_SERVER, pb.Mode_MODE_CLIENT:
		return Mode(m)
	}
	return ModeClient
}

func seenFromPB(b []byte) Addr {
	a, _ := ParseAddr(b)
	if _, ok := a.AddrPort(); !ok {
		return ""
	}
	return a
}

func contactsFromPB(ps []*pb.Contact) (out []Contact) {
	for _, p := range ps {
		c := Contact{ID: PeerID(p.GetId())}
		for _, b := range p.GetAddrs() {
			if a, err := ParseAddr(b); err == nil {
				c.Addrs = append(c.Addrs, a)
			}
		}
		out = append(out, c)
	}
	return out
}

func signedFromPB(p *pb.Signed) *Signed {
	if p == nil {
		return nil
	}
	s := &Signed{Payload: p.GetPayload(), Signature: [64]byte(p.GetSignature())}
	var r pb.Record
	if proto.Unmarshal(s.Payload, &r) != nil {
		return s
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&r)
	if err != nil || string(again) != string(s.Payload) || len(r.ProtoReflect().GetUnknown()) > 0 || !fits(&r) {
		return s
	}
	s.Record = Record{Kind: Kind(r.GetKind()), Key: routing.Key(r.GetKey()), Publisher: PeerID(r.GetPublisher()),
		Name: r.GetName(), Seq: r.GetSeq(), Expiry: time.UnixMilli(int64(r.GetExpiry())).UTC(), Value: r.GetValue()}
	return s
}

// fits reports whether a record has the sizes that SPEC.md gives.
func fits(r *pb.Record) bool {
	return r.GetKind() >= 1 && r.GetKind() <= 255 && len(r.GetKey()) == 32 && len(r.GetPublisher()) == 32 &&
		len(r.GetName()) <= MaxName && len(r.GetValue()) <= MaxValue && r.GetExpiry() > 0 && r.GetExpiry() <= maxMillis
}

func signedsFromPB(ps []*pb.Signed) (out []*Signed) {
	for _, p := range ps {
		out = append(out, signedFromPB(p))
	}
	return out
}

func pbCode(c Code) string { return pb.Code(c).String() }

func pbKind(k Kind) string { return pb.Kind(k).String() }
