package node

import (
	"bytes"
	"crypto/sha3"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/wire"
)

// answer has a node ask a request of the raw peer, and answers it. It returns what
// became of the node's request.
func (k *rawTalk) answer(n *Node, request wire.Message, typ, answerTyp protowire.Number, body []byte) error {
	k.t.Helper()
	id := k.peerID
	done := make(chan error, 1)
	go func() {
		_, _, err := n.request(within(k.t, 10*time.Second), id, request)
		done <- err
	}()
	for {
		asked, got, _, err := k.read()
		if err != nil {
			k.t.Fatalf("raw peer waits for a request: %v", err)
		}
		if asked != 0 && got == typ {
			k.send(asked, answerTyp, body)
			return <-done
		}
	}
}

func testInvalidRequests(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	for _, typ := range []protowire.Number{6, 8, 10, 14, 20, 24} {
		k.wantError("an empty request", typ, nil, badRequest)
	}
	for _, typ := range []protowire.Number{4, 6, 8, 10, 14, 16, 18, 20, 24} {
		k.wantError("a request that is not protobuf", typ, []byte{0xff}, badRequest)
	}
	k.wantAlive("invalid requests")
}

func testInvalidAnswers(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	record := rawRecord(testKey(3000), 3, someKey, []byte("x"))
	signed, err := wire.ParseSigned(record)
	if err != nil {
		t.Fatal(err)
	}
	open := wire.FindValue{Key: someKey, Kind: wire.KindOpen}
	all := open
	all.All = true
	store := wire.Store{Records: []*wire.Signed{signed}}
	for _, c := range []struct {
		name    string
		request wire.Message
		typ     protowire.Number
		answer  []byte
		good    bool
	}{
		{"NODES", wire.FindNode{}, 6, nil, true},
		{"NODES with a contact without id", wire.FindNode{}, 6, blob(1, ""), false},
		{"NODES with 21 contacts", wire.FindNode{}, 6, many(blob(1, blob(1, someKey[:])), 21), false},
		{"VALUE of 4 records", open, 8, many(blob(1, record), 4), true},
		{"VALUE of 5 records", open, 8, many(blob(1, record), 5), false},
		{"VALUE of all, 32 records", all, 8, many(blob(1, record), 32), true},
		{"VALUE of all, 33 records", all, 8, many(blob(1, record), 33), false},
		{"STORED, one code", store, 10, blob(1, []byte{0}), true},
		{"STORED, no code", store, 10, nil, false},
		{"STORED, two codes", store, 10, blob(1, []byte{0, 0}), false},
		{"DIALLED", wire.DialBack{}, 16, blob(2, k.peerID[:]), true},
		{"DIALLED without by", wire.DialBack{}, 16, num(3, 0), false},
		{"CALLED", wire.Call{Peer: k.peerID, Offer: []byte("x")}, 20, blob(1, "x"), true},
		{"CALLED without intro", wire.Call{Peer: k.peerID, Offer: []byte("x")}, 20, nil, false},
		{"PONG that is not protobuf", wire.Ping{}, 4, []byte{0xff}, false},
		{"WANTED of 129 bytes", wire.Offer{Records: []wire.Offered{{Kind: wire.KindOpen}}}, 24, blob(1, make([]byte, 129)), false},
	} {
		if err := k.answer(n, c.request, c.typ, c.typ+1, c.answer); (err == nil) != c.good {
			t.Errorf("%s: the request has ended with %v", c.name, err)
		}
	}
	k.send(0, 2, nil)           // HELLO without a mode
	k.send(0, 12, []byte{0xff}) // OBSERVED that is not protobuf
	k.wantAlive("invalid answers and notices")
}

func testLimits(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	signed := blob(1, slices.Concat(blob(1, "?"), blob(2, make([]byte, 64))))
	offered := blob(1, slices.Concat(num(1, 3), blob(2, someKey[:]), blob(3, make([]byte, 16))))
	addr := blob(1, "\x04\x19\x00\x00\x07\x91\x02\x12\xa6\xcd\x03")
	k.wantAnswer("STORE of 64 records", 10, many(signed, 64))
	k.wantError("STORE of 65 records", 10, many(signed, 65), badRequest)
	k.wantAnswer("OFFER of 1024 records", 24, many(offered, 1024))
	k.wantError("OFFER of 1025 records", 24, many(offered, 1025), badRequest)
	k.wantError("OFFER with a print of 17 bytes", 24, blob(1, slices.Concat(num(1, 3), blob(2, someKey[:]), blob(3, make([]byte, 17)))), badRequest)
	k.wantError("DIAL_BACK to 5 addresses", 16, many(addr, 5), badRequest)
	k.wantError("DIAL_BACK to 5 addresses of unknown form", 16, many(blob(1, "?"), 5), badRequest)
	call := func(intro, padding int) []byte {
		return slices.Concat(blob(1, k.peerID[:]), blob(2, make([]byte, intro)), blob(4, make([]byte, padding)))
	}
	if typ, answer := k.ask(20, call(1024, 4096)); typ == 3 && rawUint(answer, 1) == badRequest {
		t.Error("CALL at its limits is refused")
	}
	k.wantError("CALL with an intro of 1025 bytes", 20, call(1025, 0), badRequest)
	k.wantError("CALL with padding of 4097 bytes", 20, call(1, 4097), badRequest)

	for _, c := range []struct {
		what string
		body []byte
		good bool
	}{
		{"8 addresses", many(blob(2, "?"), 8), true},
		{"9 addresses", many(blob(2, "?"), 9), false},
		{"an address of 129 bytes", blob(2, make([]byte, 129)), true}, // it is left out
		{"a name that is empty", blob(2, "\x35\x00\x91\x02\x12\xa6\xcd\x03"), true},
	} {
		contact := blob(1, append(blob(1, k.peerID[:]), c.body...))
		if err := k.answer(n, wire.FindNode{}, 6, 7, contact); (err == nil) != c.good {
			t.Errorf("a contact with %s: the request has ended with %v", c.what, err)
		}
	}
	if err := k.answer(n, wire.Ping{}, 4, 3, slices.Concat(num(1, 4), blob(2, strings.Repeat("x", 257)))); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("an ERROR of 257 bytes: %v", err)
	}
}

func testLengths(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	long := append(slices.Clone(someKey[:]), 0)
	for _, key := range [][]byte{{}, long[:31], long} {
		k.wantError("key of FIND_NODE", 6, blob(1, key), badRequest)
		k.wantError("key of FIND_VALUE", 8, append(blob(1, key), num(2, 3)...), badRequest)
		k.wantError("key of GET_PROVIDERS", 14, blob(1, key), badRequest)
		k.wantError("key of OFFER", 24, blob(1, slices.Concat(num(1, 3), blob(2, key), blob(3, make([]byte, 16)))), badRequest)
		k.wantError("peer of CALL", 20, append(blob(1, key), blob(2, "x")...), badRequest)
		k.wantError("peer of DIAL_BACK", 16, blob(2, key), badRequest)
		k.wantError("after of GET_PROVIDERS", 14, append(blob(1, someKey[:]), blob(3, key)...), badRequest)
		k.wantError("after of FIND_VALUE of all", 8, slices.Concat(blob(1, someKey[:]), num(2, 3), num(4, 1), blob(5, key)), badRequest)
		k.wantError("after of FIND_VALUE", 8, slices.Concat(blob(1, someKey[:]), num(2, 3), blob(5, key)), badRequest)
		k.wantError("bound of STORE", 10, append(blob(1, rawRecord(testKey(3000), 3, someKey, nil)), blob(3, key)...), badRequest)
	}
	zero := make([]byte, 32)
	k.wantAnswer("after of zero", 14, append(blob(1, someKey[:]), blob(3, zero)...))
	k.wantAnswer("after of no valid peer ID", 14, append(blob(1, someKey[:]), blob(3, weak[3][:])...))
	k.wantAnswer("the key of zero", 6, blob(1, zero))
}

func testSigned(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	good := blob(1, rawRecord(testKey(3000), 3, someKey, []byte("x")))
	signature := make([]byte, 64)
	for _, c := range []struct {
		what   string
		record []byte
	}{
		{"no payload", blob(2, signature)},
		{"a payload of 8705 bytes", slices.Concat(blob(1, make([]byte, 8705)), blob(2, signature))},
		{"no signature", blob(1, "?")},
		{"a signature of 63 bytes", slices.Concat(blob(1, "?"), blob(2, signature[1:]))},
		{"a signature of 65 bytes", slices.Concat(blob(1, "?"), blob(2, append(signature, 0)))},
		{"no protobuf", []byte{0xff}},
	} {
		k.wantError("STORE with a record of "+c.what, 10, append(slices.Clone(good), blob(1, c.record)...), badRequest)
	}
	unreadable := blob(1, slices.Concat(blob(1, make([]byte, 8704)), blob(2, signature)))
	answer := k.wantAnswer("STORE of a payload that cannot be read", 10, append(unreadable, good...))
	if codes := rawBytes(answer, 1); !bytes.Equal(codes, []byte{invalid, 0}) {
		t.Errorf("STORED %x, want INVALID and OK", codes)
	}
}

func testServer(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	key := blob(1, someKey[:])
	k.wantAnswer("PING", 4, nil)
	k.wantAnswer("FIND_NODE", 6, key)
	k.wantAnswer("FIND_VALUE", 8, append(slices.Clone(key), num(2, 3)...))
	answer := k.wantAnswer("STORE", 10, blob(1, rawRecord(testKey(3000), 3, someKey, []byte("x"))))
	if codes := rawBytes(answer, 1); !bytes.Equal(codes, []byte{0}) {
		t.Errorf("STORED %x, want OK", codes)
	}
	answer = k.wantAnswer("FIND_VALUE", 8, append(slices.Clone(key), num(2, 3)...))
	if !bytes.Contains(rawBytes(answer, 1), []byte("x")) {
		t.Errorf("VALUE %x", answer)
	}
	k.wantAnswer("GET_PROVIDERS", 14, key)
}

func testKinds(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	key := blob(1, someKey[:])
	k.wantError("FIND_VALUE of no kind", 8, key, badRequest)
	k.wantError("FIND_VALUE of kind 0", 8, append(slices.Clone(key), num(2, 0)...), badRequest)
	k.wantError("FIND_VALUE of a kind of the future", 8, append(slices.Clone(key), num(2, 6)...), unimplemented)
}

func testPadding(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	elsewhere := blob(1, "\x04\x19\x07\x01\x07\x91\x02\x12\xa6\xcd\x03") // 25.7.1.7
	for _, padding := range []int{0, 4927} {
		k.wantError("DIAL_BACK to another IP", 16,
			slices.Concat(elsewhere, blob(2, someKey[:]), blob(3, make([]byte, padding))), invalid)
	}
	answer := k.wantAnswer("DIAL_BACK to another IP, paid for", 16,
		slices.Concat(elsewhere, blob(2, someKey[:]), blob(3, make([]byte, 4928))))
	if !bytes.Equal(rawBytes(answer, 2), n.id[:]) || rawUint(answer, 3) != 13 {
		t.Errorf("DIALLED %x, want UNREACHABLE by the node", answer)
	}
}

func testCall(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	k.wantError("CALL without peer", 20, blob(2, "x"), badRequest)
	k.wantError("CALL without intro", 20, blob(1, someKey[:]), badRequest)
	for _, body := range [][]byte{nil, blob(1, "")} {
		if err := k.answer(n, wire.Call{Peer: k.peerID, Offer: []byte("x")}, 20, 21, body); err == nil {
			t.Error("CALLED without intro is an answer")
		}
	}
}

func testKeys(t *testing.T, n *Node, s *testNetwork) {
	k := s.rawPeer(0).meet(n)
	signer, value := testKey(3000), []byte("value")
	owned := append([]byte("kadquic owned v1\x00"), signer[32:]...)
	for _, c := range []struct {
		kind  uint64
		key   [32]byte
		value []byte
		want  byte
	}{
		{1, sha3.Sum256(value), value, 0},
		{1, someKey, value, invalid},
		{2, sha3.Sum256(owned), value, 0},
		{2, sha3.Sum256(value), value, invalid},
		{3, someKey, value, 0},
		{4, sha3.Sum256(signer[32:]), num(1, 2), 0},
		{4, someKey, num(1, 2), invalid},
		{4, sha3.Sum256(signer[32:]), nil, invalid}, // no PeerInfo
		{5, someKey, nil, 0},
		{5, someKey, num(1, 2), 0},
		{5, someKey, []byte{0xff}, invalid},
		{6, someKey, value, unimplemented},
	} {
		answer := k.wantAnswer("STORE", 10, blob(1, rawRecord(signer, c.kind, c.key, c.value)))
		if codes := rawBytes(answer, 1); !bytes.Equal(codes, []byte{c.want}) {
			t.Errorf("kind %d under %x with value %q: STORED %x, want %d", c.kind, c.key[:4], c.value, codes, c.want)
		}
	}
}
