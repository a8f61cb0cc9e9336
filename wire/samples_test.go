package wire

import (
	"crypto/ed25519"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/routing"
)

// The cast: keys whose seeds are 32 times one byte, and one moment.
var (
	alice = testKey(0xa1)
	bob   = testKey(0xb0)
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func testKey(seed byte) ed25519.PrivateKey {
	var b [ed25519.SeedSize]byte
	for i := range b {
		b[i] = seed
	}
	return ed25519.NewKeyFromSeed(b[:])
}

func idOf(key ed25519.PrivateKey) PeerID { return PeerID(key.Public().(ed25519.PublicKey)) }

func addr4(n int, port uint16) Addr {
	return AddrFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), port))
}

var (
	addr6   = AddrFrom(netip.MustParseAddrPort("[2001:db8::7]:4774"))
	addrDNS = Addr("\x35\x10node.example.com\x91\x02\x12\xa6\xcd\x03")
)

// openRecord is an open record of alice's that is valid at noon.
func openRecord(name, value string) *Signed {
	return mustSign(Record{Kind: KindOpen, Key: routing.KeyOf(name), Seq: uint64(noon.UnixMilli()),
		Expiry: noon.Add(MaxTTL), Value: []byte(value)}, alice)
}

func mustSign(r Record, key ed25519.PrivateKey) *Signed {
	s, err := Sign(r, key)
	if err != nil {
		panic(err)
	}
	return s
}

func mustValue(p PeerInfo) []byte {
	b, err := p.Value()
	if err != nil {
		panic(err)
	}
	return b
}

// peerRecord is bob's own peer record.
func peerRecord() *Signed {
	return mustSign(Record{Kind: KindPeer, Seq: 7, Expiry: noon.Add(time.Hour), Value: mustValue(PeerInfo{
		Mode: ModeServer, Addrs: []Addr{addr4(7, 4774), addr6}, Relays: []PeerID{idOf(alice)}})}, bob)
}

// providerRecord says that its publisher provides "hello".
func providerRecord(key ed25519.PrivateKey, addrs ...Addr) *Signed {
	r := Record{Kind: KindProvider, Key: routing.KeyOf("hello"), Seq: 7, Expiry: noon.Add(time.Hour)}
	if len(addrs) > 0 {
		r.Value = mustValue(PeerInfo{Mode: ModeServer, Addrs: addrs})
	}
	return mustSign(r, key)
}

// contacts returns n contacts with one IPv4 address each.
func contacts(n int) (cs []Contact) {
	for i := range n {
		id := PeerID(routing.KeyOf([]byte{byte(i)}))
		cs = append(cs, Contact{ID: id, Addrs: []Addr{addr4(i+1, 4774)}})
	}
	return cs
}

// sampleOffer is what alice tells bob in a call.
func sampleOffer() CandidateOffer {
	return CandidateOffer{From: idOf(alice), To: idOf(bob), Key: routing.KeyOf("half"), At: noon,
		Addrs: []Addr{addr4(7, 4774), addr6}, Mapping: MappingSequential}
}

// answer is what bob answers.
func answer() CandidateOffer {
	return CandidateOffer{From: idOf(bob), To: idOf(alice), Key: routing.KeyOf("other half"), Reply: routing.KeyOf("half"),
		At: noon.Add(time.Second), Mapping: MappingRandom, Birthday: true}
}

// samples holds every message, small, large and empty.
func samples() map[string]Frame {
	key := routing.KeyOf("hello")
	many := contacts(MaxContacts)
	for i := range many {
		many[i].Addrs = append(many[i].Addrs, addr6, addrDNS)
	}
	hello := openRecord("hello", "world")
	big := openRecord("big", string(make([]byte, MaxValue)))
	none, some := uint64(0), uint64(300)
	owned := mustSign(Record{Kind: KindOwned, Name: []byte("page"), Seq: 301, Expiry: noon.Add(time.Hour), Value: []byte("new")}, alice)
	named := mustSign(Record{Kind: KindOpen, Name: []byte("/chat/room"), Seq: 1, Expiry: noon.Add(time.Hour)}, alice)
	provided := []*Signed{providerRecord(alice, addr4(7, 4774), addr6), providerRecord(bob)}
	var offered []Offered
	for range MaxOffer {
		offered = append(offered, Offered{KindContent, key, big.Print()})
	}
	return map[string]Frame{
		"hello":       {Body: Hello{Mode: ModeServer, Agent: "kad/0.1", Clock: noon, Observed: addr4(9, 40000), Record: peerRecord()}},
		"hello least": {Body: Hello{Mode: ModeClient}},
		"error":       {ID: 3, Body: Error{Code: CodeBusy, Message: "später"}},
		"error least": {ID: 1 << 40, Body: Error{Code: 4711}},
		"ping":        {ID: 1, Body: Ping{}},
		"pong":        {ID: 1, Body: Pong{}},
		"find node":   {ID: 2, Body: FindNode{Key: key, Count: 20}},
		"nodes":       {ID: 2, Body: Nodes{Contacts: contacts(3), Record: peerRecord()}},
		"nodes most":  {ID: 300, Body: Nodes{Contacts: many}},
		"nodes none":  {ID: 2, Body: Nodes{}},
		"nodes bare":  {ID: 2, Body: Nodes{Contacts: []Contact{{ID: idOf(bob)}}}},
		"find value":  {ID: 4, Body: FindValue{Key: key, Kind: KindOpen, Count: 20}},
		"value":       {ID: 4, Body: Value{Records: []*Signed{hello}, Contacts: contacts(2)}},
		"value most":  {ID: 4, Body: Value{Records: []*Signed{hello, big, peerRecord(), big}, Contacts: many}},
		"value none":  {ID: 4, Body: Value{}},
		"find values": {ID: 4, Body: FindValue{Key: key, Kind: KindOpen, Count: 20, All: true}},
		"find more":   {ID: 5, Body: FindValue{Key: key, Kind: KindOpen, All: true, After: idOf(bob)}},
		"values":      {ID: 4, Body: Value{Records: []*Signed{hello}, Contacts: contacts(1), More: true}},
		"store":       {ID: 5, Body: Store{Records: []*Signed{hello}, Count: 20, Bound: routing.KeyOf("far")}},
		"store most":  {ID: 5, Body: Store{Records: []*Signed{big, hello, big, big, big, big, big, big}}},
		"store least": {ID: 5, Body: Store{Records: []*Signed{hello}}},
		"stored":      {ID: 5, Body: Stored{Results: []Code{CodeOK, CodeStale, 4711}, Contacts: contacts(1)}},
		"stored none": {ID: 5, Body: Stored{}},
		"observed":    {Body: Observed{Addr: addr6}},
		"store named": {ID: 5, Body: Store{Records: []*Signed{named}}},
		"store if":    {ID: 5, Body: Store{Records: []*Signed{owned}, IfSeq: &some}},
		"store first": {ID: 5, Body: Store{Records: []*Signed{owned}, IfSeq: &none}},

		"get providers":      {ID: 6, Body: GetProviders{Key: key, Count: 20}},
		"get providers more": {ID: 7, Body: GetProviders{Key: key, After: idOf(bob)}},
		"providers":          {ID: 6, Body: Providers{Records: provided, More: true, Contacts: contacts(1)}},
		"providers none":     {ID: 6, Body: Providers{}},
		"offer":              {ID: 8, Body: Offer{Records: []Offered{{KindOpen, hello.Record.Key, hello.Print()}, {255, key, Print{}}}}},
		"offer most":         {ID: 8, Body: Offer{Records: offered}},
		"wanted":             {ID: 8, Body: Wanted{Wants: []byte{0x02}}},
		"wanted none":        {ID: 8, Body: Wanted{}},
		"dial back":          {ID: 9, Body: DialBack{Addrs: []Addr{addr4(7, 4774), addr6}}},
		"dial back padded":   {ID: 9, Body: DialBack{Addrs: []Addr{addr4(7, 4774)}, Padding: 200}},
		"dial back most":     {ID: 9, Body: DialBack{Addrs: []Addr{addr6, addr6, addr6, addr6}, Peer: idOf(alice), Padding: DialBytes}},
		"dialled":            {ID: 9, Body: Dialled{Addr: addr4(7, 4774), By: idOf(bob)}},
		"dialled no":         {ID: 9, Body: Dialled{Addr: addr6, By: idOf(bob), Code: CodeUnreachable}},
		"reserve":            {ID: 10, Body: Reserve{}},
		"reserve no more":    {ID: 10, Body: Reserve{Release: true}},
		"reserved":           {ID: 10, Body: Reserved{Lifetime: time.Hour, Rate: 256 << 10}},
		"reserved none":      {ID: 10, Body: Reserved{}},
		"reserved most":      {ID: 10, Body: Reserved{Lifetime: (1<<32 - 1) * time.Second, Rate: 1<<31 - 1}},
		"call":               {ID: 11, Body: Call{Peer: idOf(bob), Offer: sampleOffer().Sign(alice)}},
		"call on":            {ID: 11, Body: Call{Peer: idOf(alice), Offer: []byte("hello"), Seen: addr4(9, 40000), Padding: 100, Passed: true}},
		"call most":          {ID: 11, Body: Call{Peer: idOf(bob), Offer: make([]byte, MaxCandidateOffer), Seen: addr6, Padding: MaxPadding}},
		"called":             {ID: 11, Body: Called{Offer: answer().Sign(bob)}},
		"called on":          {ID: 11, Body: Called{Offer: []byte("hello"), Seen: addr6, Padding: 200}},
	}
}
