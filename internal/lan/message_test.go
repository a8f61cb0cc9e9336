package lan

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const mainService = "_kad-15c4a824._udp.local."

func TestServiceIsNamedAfterTheALPN(t *testing.T) {
	if got := serviceOf("main"); got != mainService {
		t.Errorf("it is %q", got)
	}
	if serviceOf("other") == mainService {
		t.Error("two networks have one service")
	}
}

func TestQuestionIsPinned(t *testing.T) {
	const want = "000000000001000000000000" + "0d5f6b61642d3135633461383234" + "045f756470" + "056c6f63616c00" + "000c0001"
	if got := hex.EncodeToString(question(mainService)); got != want {
		t.Errorf("it is %s", got)
	}
	m, err := parse(question(mainService), mainService, peerID(1))
	if err != nil || !m.asks || m.peers != nil {
		t.Errorf("it is read as %+v, %v", m, err)
	}
	if m, err := parse(question(serviceOf("other")), mainService, peerID(1)); err != nil || m.asks {
		t.Errorf("that of another network is read as %+v, %v", m, err)
	}
}

func TestAnswerIsReadBack(t *testing.T) {
	var at []netip.AddrPort
	for i := range maxAddrs {
		ip := netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)})
		if i%2 == 0 {
			ip = netip.AddrFrom4([4]byte{192, 168, 1, byte(i + 1)})
		}
		at = append(at, netip.AddrPortFrom(ip, 65535))
	}
	for n := 1; n <= maxAddrs; n++ {
		b := answer(mainService, peerID(1), at[:n], ttl)
		if len(b) > 1232 {
			t.Errorf("with %d addresses it takes %d bytes", n, len(b))
		}
		m, err := parse(b, mainService, peerID(2))
		if want := (message{peers: []peer{{peerID(1), at[:n]}}}); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("it is read as %+v, %v", m, err)
		}
		if m, err := parse(b, serviceOf("other"), peerID(2)); err != nil || m.peers != nil {
			t.Errorf("in another network it is read as %+v, %v", m, err)
		}
	}
	// withdrawn
	if m, err := parse(answer(mainService, peerID(1), at, 0), mainService, peerID(2)); err != nil || m.peers != nil {
		t.Errorf("a goodbye is read as %+v, %v", m, err)
	}
}

// Other programs see a service as defined by RFC 6763.
func TestAnswerIsAService(t *testing.T) {
	var m dnsmessage.Message
	at := []netip.AddrPort{netip.MustParseAddrPort("192.168.1.5:4774"), netip.MustParseAddrPort("[fd00::5]:4774")}
	if err := m.Unpack(answer(mainService, peerID(1), at, ttl)); err != nil {
		t.Fatal(err)
	}
	if !m.Response || !m.Authoritative || m.ID != 0 || len(m.Questions) != 0 { // RFC 6762 §18
		t.Errorf("its header is %+v", m.Header)
	}
	var types []dnsmessage.Type
	for _, r := range m.Answers {
		types = append(types, r.Header.Type)
		if shared := r.Header.Type == dnsmessage.TypePTR; shared == (r.Header.Class&unique != 0) {
			t.Errorf("class %v of %v", r.Header.Class, r.Header.Type)
		}
	}
	if want := []dnsmessage.Type{dnsmessage.TypePTR, dnsmessage.TypeSRV, dnsmessage.TypeTXT, dnsmessage.TypeA, dnsmessage.TypeAAAA}; !reflect.DeepEqual(types, want) {
		t.Errorf("it has %v", types)
	}
	if srv := m.Answers[1].Body.(*dnsmessage.SRVResource); srv.Port != 4774 || srv.Target.String() != peerID(1).String()+".local." {
		t.Errorf("SRV is %v", srv)
	}
}

func ask(t *testing.T, kind dnsmessage.Type, name string, class dnsmessage.Class, known ...dnsmessage.Resource) []byte {
	t.Helper()
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: class}}, Answers: known}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestQuestionsForUs(t *testing.T) {
	self := peerID(1)
	instance := instanceOf(mainService, self)
	ptr := func(to string, ttl uint32) dnsmessage.Resource {
		return dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(mainService), Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(to)},
		}
	}
	other := ptr(instanceOf(mainService, peerID(2)), ttl)
	for _, c := range []struct {
		what   string
		packet []byte
		want   bool
	}{
		{"who is there", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassINET), true},
		{"in capitals", ask(t, dnsmessage.TypePTR, "_KAD-15C4A824._UDP.LOCAL.", dnsmessage.ClassINET), true},
		{"answered by unicast, please", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassINET|unique), true},
		{"all of it", ask(t, dnsmessage.TypeALL, mainService, dnsmessage.ClassANY), true},
		{"where we are", ask(t, dnsmessage.TypeSRV, instance, dnsmessage.ClassINET), true},
		{"where another is", ask(t, dnsmessage.TypeSRV, instanceOf(mainService, peerID(2)), dnsmessage.ClassINET), false},
		{"another class", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassCHAOS), false},
		{"another service", ask(t, dnsmessage.TypePTR, "_http._tcp.local.", dnsmessage.ClassINET), false},
		{"by one who knows us", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassINET, other, ptr(instance, ttl)), false},
		{"by one who knows us no longer", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassINET, ptr(instance, ttl/2-1)), true},
		{"by one who knows another", ask(t, dnsmessage.TypePTR, mainService, dnsmessage.ClassINET, other), true},
	} {
		if m, err := parse(c.packet, mainService, self); err != nil || m.asks != c.want {
			t.Errorf("%s: %v, %v", c.what, m.asks, err)
		}
	}
}

func TestTXT(t *testing.T) {
	id := peerID(1)
	at := func(s ...string) (all []netip.AddrPort) {
		for _, a := range s {
			all = append(all, netip.MustParseAddrPort(a))
		}
		return all
	}
	for _, c := range []struct {
		words []string
		want  []netip.AddrPort // nil: no peer
	}{
		{[]string{"id=" + id.String(), "at=10.0.0.1:1", "", "=", "new=1"}, at("10.0.0.1:1")},
		{[]string{"at=10.0.0.1:1", "at=[fd00::1]:2", "id=" + id.String()}, at("10.0.0.1:1", "[fd00::1]:2")},
		{[]string{"id=" + id.String(), "at=[::ffff:10.0.0.1]:1"}, at("10.0.0.1:1")},
		{[]string{"id=" + id.String(), "at=[fe80::1%eth0]:1", "at=10.0.0.1:0", "at=host:1", "at="}, nil},
		{[]string{"id=" + id.String()}, nil},
		{[]string{"at=10.0.0.1:1"}, nil},
		{[]string{"id=x", "at=10.0.0.1:1"}, nil},
		{nil, nil},
	} {
		if p, ok := peerOf(c.words); ok != (c.want != nil) || ok && (p.id != id || !reflect.DeepEqual(p.at, c.want)) {
			t.Errorf("%q: %v, %v", c.words, p, ok)
		}
	}
}

// parse survives any input, and its result is bounded.
func FuzzParse(f *testing.F) {
	f.Add(question(mainService))
	f.Add(answer(mainService, peerID(1), []netip.AddrPort{netip.MustParseAddrPort("192.168.1.5:4774")}, ttl))
	f.Add(answer(mainService, peerID(1), []netip.AddrPort{netip.MustParseAddrPort("[fd00::5]:1")}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := parse(b, mainService, peerID(1))
		if len(m.peers) > maxPeers {
			t.Fatalf("%d peers", len(m.peers))
		}
		for _, p := range m.peers {
			if p.id.IsZero() || len(p.at) == 0 || len(p.at) > maxAddrs {
				t.Fatalf("peer %v", p)
			}
			for _, at := range p.at {
				if !at.IsValid() || at.Port() == 0 || at.Addr().Zone() != "" {
					t.Fatalf("address %v", at)
				}
			}
		}
	})
}
