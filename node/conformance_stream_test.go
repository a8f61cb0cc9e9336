package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha3"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/wire"
)

const (
	badRequest    = 1
	unimplemented = 2
	invalid       = 5

	closeNone     = 0
	closeProtocol = 4
)

var (
	someKey = sha3.Sum256([]byte("some key"))
	weak    = []weakKey{
		{0: 1},           // order 1
		{0: 1, 31: 0x80}, // with x = -0
		{31: 0x80},       // order 4
		{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // order 2
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		{0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // 2^255 - 18 is 1
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	}
)

func testWeakKeys(t *testing.T, n *Node, s *testNetwork) {
	for i, key := range weak[:2] { // those whose signature needs no search
		c, err := s.rawPeer(10+i, rawCertificate(t, key)).dial(n)
		if err != nil {
			continue
		}
		select {
		case <-c.Context().Done():
		case <-time.After(time.Second):
			t.Errorf("a certificate of %x was taken", key)
		}
	}
	k := s.rawPeer(0).meet(n)
	for _, key := range weak {
		k.wantError("CALL of a weak key", 20, slices.Concat(blob(1, key[:]), blob(2, "x")), badRequest)
		k.wantError("DIAL_BACK for a weak key", 16, blob(2, key[:]), badRequest)
		answer := k.wantAnswer("STORE of a weak publisher's", 10, blob(1, rawRecord(key, 3, someKey, []byte("x"))))
		if codes := rawBytes(answer, 1); !bytes.Equal(codes, []byte{invalid}) {
			t.Errorf("STORE of %x: %x", key, codes)
		}
		info := slices.Concat(num(1, 2), blob(3, key[:]))
		answer = k.wantAnswer("STORE of a weak relay", 10, blob(1, rawRecord(testKey(3000), 5, someKey, info)))
		if codes := rawBytes(answer, 1); !bytes.Equal(codes, []byte{invalid}) {
			t.Errorf("STORE with relay %x: %x", key, codes)
		}
		if _, err := ma.NewMultiaddr("/ip4/25.0.0.1/udp/1/quic-v1/p2p/" + wire.PeerID(key).String()); err == nil {
			addr := wire.JoinPeer(wire.AddrFrom(host(1)), wire.PeerID(key))
			if _, err := n.Connect(within(t, time.Minute), addr); !errors.Is(err, wire.ErrPeerID) {
				t.Errorf("connect to %x: %v", key, err)
			}
		}
		err := k.answer(n, wire.FindNode{}, 6, 7, blob(1, blob(1, key[:])))
		if _, ok := errors.AsType[*wire.InvalidError](err); !ok {
			t.Errorf("a contact %x is believed: %v", key, err)
		}
	}
}

func testCertificates(t *testing.T, n *Node, s *testNetwork) {
	one := rawCertificate(t, testKey(3001))
	two := one
	two.Certificate = append(slices.Clone(one.Certificate), one.Certificate[0])
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name string
		cert tls.Certificate
	}{{"none", tls.Certificate{}}, {"two", two}, {"of another curve", rawCertificate(t, curve)}} {
		conn, err := s.rawPeer(10+i, c.cert).dial(n)
		if err != nil {
			continue
		}
		select {
		case <-conn.Context().Done():
		case <-time.After(time.Second):
			t.Errorf("%s: the connection stands", c.name)
		}
	}
	s.rawPeer(1).meet(n).wantAlive("one certificate, signed by another key")
}

func testWrongKey(t *testing.T, n *Node, s *testNetwork) {
	p := s.rawPeer(0)
	l, err := p.tr.Listen(p.tls, rawConfig)
	if err != nil {
		t.Fatal(err)
	}
	addr := wire.JoinPeer(wire.AddrFrom(p.at), idOf(testKey(9)))
	if _, err := n.Connect(within(t, 20*time.Second), addr); !errors.Is(err, ErrWrongPeer) {
		t.Errorf("connect: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, err := l.Accept(ctx); err == nil {
		t.Errorf("the handshake of %v has ended well", c.RemoteAddr())
	}
}

func testFirstFrame(t *testing.T, n *Node, s *testNetwork) {
	p := s.rawPeer(0)
	for _, c := range []struct {
		name string
		typ  protowire.Number
		body []byte
	}{{"PING", 4, nil}, {"PONG", 5, nil}, {"an unknown type", 40, nil}, {"HELLO without a mode", 2, nil}} {
		k := p.open(n)
		k.send(1, c.typ, c.body)
		k.wantClosed(c.name+" comes first", closeProtocol)
	}
	k := p.open(n)
	k.write([]byte{10}) // of a frame that never comes
	k.wantClosed("no HELLO in time", closeNone)

	p = s.rawPeer(1) // which is dialled
	l, err := p.tr.Listen(p.tls, rawConfig)
	if err != nil {
		t.Fatal(err)
	}
	go n.Connect(within(t, 20*time.Second), wire.JoinPeer(wire.AddrFrom(p.at), p.id))
	if k, err = p.accept(within(t, 5*time.Second), l); err != nil {
		t.Fatal(err)
	}
	if id, typ, _, err := k.read(); err != nil || id != 0 || typ != 2 {
		t.Errorf("the dialler's first frame: id %d, type %d, %v", id, typ, err)
	}
	k.send(0, 12, nil)
	k.wantClosed("OBSERVED comes first from the acceptor", closeProtocol)
}

func testMalformedFrames(t *testing.T, n *Node, s *testNetwork) {
	p := s.rawPeer(0)
	ping := blob(4, "")
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"a length of 65537", protowire.AppendVarint(nil, 65537)},
		{"a length of 2^63", protowire.AppendVarint(nil, 1<<63)},
		{"a length in too many bytes", append([]byte{0x80 | byte(len(ping)), 0}, ping...)},
		{"a length in eleven bytes", bytes.Repeat([]byte{0x80}, 11)},
		{"noise", framed(bytes.Repeat([]byte{0xff}, 20))},
		{"a field that is cut short", framed([]byte{0x22, 5, 1})},
		{"field number 0", framed(append([]byte{0, 1}, ping...))},
		{"no body", framed(num(1, 5))},
		{"nothing", framed(nil)},
		{"two bodies", framed(slices.Concat(num(1, 5), ping, ping))},
		{"two bodies, one of the future", framed(slices.Concat(num(1, 5), ping, blob(63, "")))},
	} {
		k := p.meet(n)
		k.write(c.bytes)
		k.wantClosed(c.name, closeProtocol)
	}
	k := p.meet(n)
	k.write(framed(slices.Concat(num(1, 1), ping, blob(64, strings.Repeat("x", 65000)), num(1000, 7))))
	k.asked++
	k.wantAlive("a long frame with fields of the future")
}

func testUnknownFields(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	k.wantAnswer("unknown fields", 6, slices.Concat(num(90, 1), blob(91, "x"), blob(1, someKey[:]), num(2, 20), []byte{0xf5, 1, 1, 2, 3, 4}))
	k.wantAnswer("count as bytes", 6, slices.Concat(blob(1, someKey[:]), blob(2, "x")))
	k.wantError("key as a number only", 6, num(1, 5), badRequest)
	k.wantAnswer("fields in another order", 6, slices.Concat(num(2, 20), blob(1, someKey[:])))
	k.wantAnswer("a count of 2^32", 6, slices.Concat(blob(1, someKey[:]), num(2, 1<<32)))
}

func testUnknownTypes(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	for _, typ := range []protowire.Number{22, 26, 40, 62} {
		k.wantError("a request of the future", typ, []byte("what may this be"), unimplemented)
	}
	for _, typ := range []protowire.Number{13, 23, 27, 63} {
		k.send(0, typ, []byte("an answer"))
		k.send(77, typ, []byte("an answer"))
	}
	k.send(0, 40, []byte("a notice"))
	for _, typ := range []protowire.Number{4, 6, 10} {
		k.send(0, typ, nil) // a request without an id is a notice
	}
	k.send(5, 5, nil) // to no request
	k.send(700, 12, nil)
	k.send(701, 2, num(1, 2))
	k.send(702, 2, nil)
	k.asked = 710
	k.send(710, 4, nil)
	if id, typ, _, err := k.read(); err != nil || id != 710 || typ != 5 {
		t.Errorf("a frame with id %d of type %d, %v: something else than the PING was answered", id, typ, err)
	}
}

func testFieldsTwice(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	k.wantAnswer("a scalar twice", 6, slices.Concat(blob(1, someKey[:]), num(2, 99), num(2, 1), blob(1, make([]byte, 32))))
	k.wantError("and the last is wrong", 6, slices.Concat(blob(1, someKey[:]), blob(1, "short")), badRequest)
	record := rawRecord(testKey(3000), 4, sha3.Sum256(testKey(3000)[32:]), num(1, 2))
	k = s.rawPeer(1).open(n)
	k.send(0, 2, slices.Concat(num(1, 2), blob(5, record), blob(5, record)))
	k.wantClosed("a record twice in HELLO", closeProtocol)
}

func testGroups(t *testing.T, n *Node, s *testNetwork) {
	group := []byte{7<<3 | 3, 7<<3 | 4}
	k := s.rawPeer(0).meet(n)
	k.wantError("a group in FIND_NODE", 6, append(blob(1, someKey[:]), group...), badRequest)
	k.wantAlive("a group in a message")
	k.write(framed(append(blob(4, ""), group...)))
	k.wantClosed("a group in Frame", closeProtocol)
}

func testInvalidHello(t *testing.T, n *Node, s *testNetwork) {
	client := num(1, 2)
	record := rawRecord(testKey(3000), 4, sha3.Sum256(testKey(3000)[32:]), num(1, 2))
	others := rawRecord(testKey(3001), 4, sha3.Sum256(testKey(3001)[32:]), num(1, 2))
	forged := slices.Clone(record)
	forged[len(forged)-1] ^= 1
	signature := make([]byte, 64)
	for i, c := range []struct {
		name string
		body []byte
		good bool
	}{
		{"mode 0", blob(2, "x"), false},
		{"a mode of the future", num(1, 9), true},
		{"an agent of 64 bytes", append(client, blob(2, strings.Repeat("x", 64))...), true},
		{"an agent of 65 bytes", append(client, blob(2, strings.Repeat("x", 65))...), false},
		{"an agent that is not UTF-8", append(client, blob(2, "\xff")...), false},
		{"a clock at the end of the year 9999", append(client, num(3, 253402300799999)...), true},
		{"a clock after the year 9999", append(client, num(3, 253402300800000)...), false},
		{"observed that is no address", append(client, blob(4, "nonsense")...), true},
		{"observed that is a name", append(client, blob(4, "\x35\x01x\x91\x02\x12\xa6\xcd\x03")...), true},
		{"a record", append(client, blob(5, record)...), true},
		{"a record with a wrong signature", append(client, blob(5, forged)...), true},
		{"the record of another", append(client, blob(5, others)...), true},
		{"a record that cannot be read", append(client, blob(5, slices.Concat(blob(1, "?"), blob(2, signature)))...), true},
		{"an empty record", append(client, blob(5, "")...), false},
		{"a record that is not protobuf", append(client, blob(5, []byte{0xff})...), false},
		{"a record without payload", append(client, blob(5, blob(2, signature))...), false},
		{"a record of a long payload", append(client, blob(5, slices.Concat(blob(1, make([]byte, 8705)), blob(2, signature)))...), false},
		{"a record with a short signature", append(client, blob(5, slices.Concat(blob(1, "?"), blob(2, signature[1:])))...), false},
		{"not protobuf", []byte{0xff}, false},
	} {
		k := s.rawPeer(100 + i).open(n)
		k.send(0, 2, slices.Clone(c.body))
		if !c.good {
			k.wantClosed("HELLO, "+c.name, closeProtocol)
			continue
		}
		k.wantAlive("HELLO, " + c.name)
	}
}
