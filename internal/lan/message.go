package lan

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/kadquic/kadquic/wire"
)

const (
	// ttl is the time to live of our records, in seconds (RFC 6762 §10).
	ttl = 120

	maxAddrs   = 8   // of a peer
	maxPeers   = 8   // in a packet
	maxRecords = 256 // in a packet; later records are ignored

	// unique is the cache-flush bit: the record is the only one of its name and type
	// (RFC 6762 §10.2). In a question the bit requests a unicast answer (§5.4).
	unique dnsmessage.Class = 1 << 15
)

// serviceOf returns the service name of a network.
func serviceOf(network string) string {
	alpn := wire.ALPN(network)
	return "_kad-" + alpn[strings.LastIndexByte(alpn, '/')+1:] + "._udp.local."
}

func instanceOf(service string, id wire.PeerID) string { return id.String() + "." + service }

// question encodes a query for the instances of a service.
func question(service string) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	err := errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{
		Name: dnsmessage.MustNewName(service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET,
	}))
	return finish(&b, err)
}

// answer encodes the announcement that the peer id offers a service at the addresses at,
// of which there is at least one. A ttl of zero withdraws it.
func answer(service string, id wire.PeerID, at []netip.AddrPort, ttl uint32) []byte {
	instance := dnsmessage.MustNewName(instanceOf(service, id))
	host := dnsmessage.MustNewName(id.String() + ".local.")
	header := func(name dnsmessage.Name, class dnsmessage.Class) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Class: class, TTL: ttl}
	}
	only := dnsmessage.ClassINET | unique
	words := []string{"id=" + id.String()}
	for _, a := range at {
		words = append(words, "at="+a.String())
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true, Authoritative: true})
	b.EnableCompression()
	offered := dnsmessage.MustNewName(service)
	err := errors.Join(
		b.StartAnswers(),
		b.PTRResource(header(offered, dnsmessage.ClassINET), dnsmessage.PTRResource{PTR: instance}),
		b.SRVResource(header(instance, only), dnsmessage.SRVResource{Port: at[0].Port(), Target: host}),
		b.TXTResource(header(instance, only), dnsmessage.TXTResource{TXT: words}),
	)
	for _, a := range at {
		if a.Addr().Is4() {
			err = errors.Join(err, b.AResource(header(host, only), dnsmessage.AResource{A: a.Addr().As4()}))
		} else {
			err = errors.Join(err, b.AAAAResource(header(host, only), dnsmessage.AAAAResource{AAAA: a.Addr().As16()}))
		}
	}
	return finish(&b, err)
}

func finish(b *dnsmessage.Builder, err error) []byte {
	packet, ferr := b.Finish()
	if err = errors.Join(err, ferr); err != nil {
		panic(fmt.Sprintf("lan: %v", err)) // names and sizes do not depend on input
	}
	return packet
}

// A message holds the relevant parts of a packet.
type message struct {
	asks  bool   // the packet asks for our records
	peers []peer // instances of the service
}

// A peer is one announced instance.
type peer struct {
	id wire.PeerID
	at []netip.AddrPort
}

// parse reads a packet, and skips records of other services.
func parse(packet []byte, service string, self wire.PeerID) (message, error) {
	var m message
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil {
		return m, err
	}
	if h.OpCode != 0 || h.RCode != dnsmessage.RCodeSuccess || h.Truncated && h.Response { // RFC 6762 §18
		return m, nil
	}
	instance := instanceOf(service, self)
	for range maxRecords {
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return m, err
		}
		m.asks = m.asks || !h.Response && asksFor(q, service, instance)
	}
	if err := p.SkipAllQuestions(); err != nil {
		return m, err
	}
	if !h.Response {
		m.asks = m.asks && !knows(&p, service, instance)
		return m, nil
	}
	m.peers, err = peers(nil, service, p.AnswerHeader, p.SkipAnswer, p.TXTResource)
	if err == nil {
		err = errors.Join(p.SkipAllAnswers(), p.SkipAllAuthorities())
	}
	if err == nil {
		m.peers, err = peers(m.peers, service, p.AdditionalHeader, p.SkipAdditional, p.TXTResource)
	}
	return m, err
}

func asksFor(q dnsmessage.Question, service, instance string) bool {
	if c := q.Class &^ unique; c != dnsmessage.ClassINET && c != dnsmessage.ClassANY {
		return false
	}
	name := q.Name.String()
	switch q.Type {
	case dnsmessage.TypePTR:
		return strings.EqualFold(name, service)
	case dnsmessage.TypeSRV, dnsmessage.TypeTXT:
		return strings.EqualFold(name, instance)
	case dnsmessage.TypeALL:
		return strings.EqualFold(name, service) || strings.EqualFold(name, instance)
	}
	return false
}

// knows reports whether the query lists our answer among its known answers (RFC 6762
// §7.1).
func knows(p *dnsmessage.Parser, service, instance string) bool {
	for range maxRecords {
		h, err := p.AnswerHeader()
		if err != nil {
			return false
		}
		if h.Type != dnsmessage.TypePTR || h.TTL < ttl/2 || !strings.EqualFold(h.Name.String(), service) {
			if p.SkipAnswer() != nil {
				return false
			}
			continue
		}
		r, err := p.PTRResource()
		if err != nil || strings.EqualFold(r.PTR.String(), instance) {
			return err == nil
		}
	}
	return false
}

// peers appends the peers in one section of a packet to all.
func peers(all []peer, service string, header func() (dnsmessage.ResourceHeader, error), skip func() error, txt func() (dnsmessage.TXTResource, error)) ([]peer, error) {
	for range maxRecords {
		h, err := header()
		if err == dnsmessage.ErrSectionDone {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Type != dnsmessage.TypeTXT || h.TTL == 0 || len(all) == maxPeers || !hasSuffixFold(h.Name.String(), "."+service) {
			if err := skip(); err != nil {
				return nil, err
			}
			continue
		}
		r, err := txt()
		if err != nil {
			return nil, err
		}
		if p, ok := peerOf(r.TXT); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// peerOf reads the strings of a TXT record. It ignores unknown keys, for later versions.
func peerOf(words []string) (p peer, ok bool) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "id":
			id, err := wire.ParsePeerID(value)
			if err != nil {
				return peer{}, false
			}
			p.id = id
		case "at":
			at, err := netip.ParseAddrPort(value)
			if err == nil && at.Addr().Zone() == "" && at.Port() != 0 && len(p.at) < maxAddrs {
				p.at = append(p.at, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
			}
		}
	}
	return p, !p.id.IsZero() && len(p.at) > 0
}
