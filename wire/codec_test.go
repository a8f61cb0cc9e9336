package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire/pb"
)

// The generated code writes fields in order of number, as ours does.
var canonical = proto.MarshalOptions{Deterministic: true}

func generated(t interface{ Fatal(...any) }, f Frame) []byte {
	b, err := canonical.Marshal(toPB(f))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each message comes out as the generated code writes it, and back as it went.
func TestSamplesAgainstGenerated(t *testing.T) {
	for name, f := range samples() {
		t.Run(name, func(t *testing.T) {
			b := AppendFrame(nil, f)
			if want := generated(t, f); !bytes.Equal(b, want) {
				t.Fatalf("ours      %x\ngenerated %x", b, want)
			}
			got, err := ParseFrame(b)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, f) {
				t.Errorf("went %+v\ncame %+v", f, got)
			}
		})
	}
}

// So does any message within the limits.
func TestCodecAgainstGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		b := AppendFrame([]byte("before"), f)
		b, ok := bytes.CutPrefix(b, []byte("before"))
		if want := generated(t, f); !ok || !bytes.Equal(b, want) {
			t.Fatalf("%#v\nours      %x\ngenerated %x", f, b, want)
		}
		got, err := ParseFrame(b)
		if err != nil {
			t.Fatalf("%#v: %v", f, err)
		}
		if !reflect.DeepEqual(got, f) {
			t.Fatalf("went %#v\ncame %#v", f, got)
		}
		var p pb.Frame
		if err := proto.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		if back := fromPB(&p); !reflect.DeepEqual(back, f) {
			t.Fatalf("went %#v\ncame by the generated code %#v", f, back)
		}
	})
}

// Each limit has its own reason of refusal, which comes with the frame's id.
func TestParseRefuses(t *testing.T) {
	key := make([]byte, 32)
	id := idOf(bob)
	contact := &pb.Contact{Id: id[:]}
	signed := signedToPB(openRecord("a", "b"))
	addr := []byte(addr4(1, 1))
	nodes := func(cs ...*pb.Contact) *pb.Frame {
		return &pb.Frame{Body: &pb.Frame_Nodes{Nodes: &pb.Nodes{Contacts: cs}}}
	}
	store := func(s *pb.Store) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Store{Store: s}} }
	hello := func(h *pb.Hello) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Hello{Hello: h}} }
	conditional := func(seq uint64, rs ...*pb.Signed) *pb.Frame { return store(&pb.Store{Records: rs, IfSeq: &seq}) }
	offer := func(os ...*pb.Offered) *pb.Frame {
		return &pb.Frame{Body: &pb.Frame_Offer{Offer: &pb.Offer{Records: os}}}
	}
	dialBack := func(d *pb.DialBack) *pb.Frame { return &pb.Frame{Body: &pb.Frame_DialBack{DialBack: d}} }
	call := func(c *pb.Call) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Call{Call: c}} }
	called := func(c *pb.Called) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Called{Called: c}} }
	dialled := func(d *pb.Dialled) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Dialled{Dialled: d}} }
	getProviders := func(g *pb.GetProviders) *pb.Frame { return &pb.Frame{Body: &pb.Frame_GetProviders{GetProviders: g}} }
	providers := func(p *pb.Providers) *pb.Frame { return &pb.Frame{Body: &pb.Frame_Providers_{Providers_: p}} }
	owned := signedToPB(records()[KindOwned])
	findValue := func(f *pb.FindValue) *pb.Frame { return &pb.Frame{Body: &pb.Frame_FindValue{FindValue: f}} }

	for _, c := range []struct {
		frame *pb.Frame
		want  reason
	}{
		{&pb.Frame{Body: &pb.Frame_FindNode{FindNode: &pb.FindNode{}}}, noKey},
		{&pb.Frame{Body: &pb.Frame_FindNode{FindNode: &pb.FindNode{Key: key[:31]}}}, noKey},
		{findValue(&pb.FindValue{Kind: 1}), noKey},
		{findValue(&pb.FindValue{Key: key}), noKind},
		{findValue(&pb.FindValue{Key: key, Kind: 6}), unknownKind},
		{findValue(&pb.FindValue{Key: key, Kind: 257}), unknownKind},
		{findValue(&pb.FindValue{Key: key, Kind: -1}), unknownKind},
		{nodes(repeat(contact, 21)...), tooManyContacts},
		{nodes(&pb.Contact{}), badPeerID},
		{nodes(&pb.Contact{Id: key}), badPeerID},
		{nodes(contact, &pb.Contact{Id: id[:31]}), badPeerID},
		{nodes(&pb.Contact{Id: id[:], Addrs: repeat(addr, 9)}), tooManyAddrs},
		{nodes(&pb.Contact{Id: id[:], Addrs: repeat([]byte{1}, 200)}), tooManyAddrs},
		{&pb.Frame{Body: &pb.Frame_Value{Value: &pb.Value{Records: repeat(signed, 33)}}}, tooManyRecords},
		{&pb.Frame{Body: &pb.Frame_Value{Value: &pb.Value{Contacts: repeat(contact, 21)}}}, tooManyContacts},
		{store(&pb.Store{}), noRecords},
		{store(&pb.Store{Records: repeat(signed, 65)}), tooManyRecords},
		{store(&pb.Store{Records: repeat(signed, 1), Bound: key[:5]}), noKey},
		{store(&pb.Store{Records: []*pb.Signed{{Signature: signed.Signature}}}), badPayload},
		{store(&pb.Store{Records: []*pb.Signed{{Payload: make([]byte, MaxPayload+1), Signature: signed.Signature}}}), badPayload},
		{store(&pb.Store{Records: []*pb.Signed{{Payload: signed.Payload, Signature: signed.Signature[1:]}}}), badSignature},
		{conditional(0, owned, owned), badIfSeq},
		{conditional(0, signed), badIfSeq},
		{conditional(3, &pb.Signed{Payload: []byte("unreadable"), Signature: signed.Signature}), badIfSeq},
		{findValue(&pb.FindValue{Key: key, Kind: 3, All: true, After: id[:31]}), badPeerID},
		{getProviders(&pb.GetProviders{}), noKey},
		{getProviders(&pb.GetProviders{Key: key, After: id[:31]}), badPeerID},
		{providers(&pb.Providers{Records: repeat(signed, 33)}), tooManyRecords},
		{providers(&pb.Providers{Records: []*pb.Signed{{}}}), badPayload},
		{providers(&pb.Providers{Contacts: repeat(contact, 21)}), tooManyContacts},
		{offer(), noRecords},
		{offer(repeat(&pb.Offered{Kind: 1, Key: key, Print: key[:16]}, MaxOffer+1)...), tooManyRecords},
		{offer(&pb.Offered{Key: key, Print: key[:16]}), noKind},
		{offer(&pb.Offered{Kind: 1, Print: key[:16]}), noKey},
		{offer(&pb.Offered{Kind: 1, Key: key[:31], Print: key[:16]}), noKey},
		{offer(&pb.Offered{Kind: 1, Key: key}), badPrint},
		{offer(&pb.Offered{Kind: 1, Key: key, Print: key[:17]}), badPrint},
		{dialBack(&pb.DialBack{Addrs: repeat(addr, MaxDialBack+1)}), tooManyAddrs},
		{dialBack(&pb.DialBack{Addrs: repeat([]byte{1}, MaxDialBack+1)}), tooManyAddrs},
		{dialBack(&pb.DialBack{Addrs: repeat(addr, 1), Peer: id[:31]}), badPeerID},
		{dialBack(&pb.DialBack{Addrs: repeat(addr, 1), Peer: make([]byte, 32)}), badPeerID},
		{call(&pb.Call{Intro: key}), badPeerID},
		{call(&pb.Call{Peer: key, Intro: key}), badPeerID},
		{call(&pb.Call{Peer: id[:31], Intro: key}), badPeerID},
		{call(&pb.Call{Peer: id[:]}), badCandidateOffer},
		{call(&pb.Call{Peer: id[:], Intro: make([]byte, MaxCandidateOffer+1)}), badCandidateOffer},
		{call(&pb.Call{Peer: id[:], Intro: key, Padding: make([]byte, MaxPadding+1)}), tooLong},
		{called(&pb.Called{}), badCandidateOffer},
		{called(&pb.Called{Intro: make([]byte, MaxCandidateOffer+1)}), badCandidateOffer},
		{called(&pb.Called{Intro: key, Padding: make([]byte, MaxPadding+1)}), tooLong},
		{dialled(&pb.Dialled{Addr: addr}), badPeerID},
		{dialled(&pb.Dialled{Addr: addr, By: id[:31]}), badPeerID},
		{dialled(&pb.Dialled{Addr: addr, By: id[:], Code: -1}), badCode},
		{&pb.Frame{Body: &pb.Frame_Wanted{Wanted: &pb.Wanted{Wants: make([]byte, MaxOffer/8+1)}}}, tooManyWants},
		{&pb.Frame{Body: &pb.Frame_Stored{Stored: &pb.Stored{Results: repeat(pb.Code_CODE_OK, 65)}}}, tooManyRecords},
		{&pb.Frame{Body: &pb.Frame_Stored{Stored: &pb.Stored{Results: []pb.Code{-1}}}}, badCode},
		{&pb.Frame{Body: &pb.Frame_Stored{Stored: &pb.Stored{Contacts: repeat(contact, 21)}}}, tooManyContacts},
		{&pb.Frame{Body: &pb.Frame_Error{Error: &pb.Error{}}}, badCode},
		{&pb.Frame{Body: &pb.Frame_Error{Error: &pb.Error{Code: 1, Message: strings.Repeat("a", 257)}}}, tooLong},
		{hello(&pb.Hello{}), badMode},
		{hello(&pb.Hello{Mode: 1, Agent: strings.Repeat("a", 65)}), tooLong},
		{hello(&pb.Hello{Mode: 1, Clock: 1 << 63}), badTime},
		{hello(&pb.Hello{Mode: 1, Record: &pb.Signed{}}), badPayload},
	} {
		c.frame.Id = 77
		b, err := canonical.Marshal(c.frame)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseFrame(b)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Reason != string(c.want) {
			t.Errorf("%v: got %v, want %q", c.frame, err, c.want)
			continue
		}
		if want := (Frame{ID: 77, Body: Unknown{invalid.Type}}); f != want {
			t.Errorf("%v: got frame %+v, want %+v", err, f, want)
		}
		if want := c.want == unknownKind; (invalid.Code == CodeUnimplemented) != want {
			t.Errorf("%v: code %v", err, invalid.Code)
		}
	}
}

func repeat[T any](v T, n int) (out []T) {
	for range n {
		out = append(out, v)
	}
	return out
}

// Bytes that the generated code would not even write are refused too.
func TestParseRefusesBytes(t *testing.T) {
	record := peerRecord()
	twoRecords := appendOptional(appendOptional([]byte{0x08, 0x01}, 5, record), 5, record)
	nodes := appendOptional(appendOptional(nil, 2, record), 2, record)
	for _, c := range []struct {
		typ  byte
		body string
		want reason
	}{
		{bodyHello, "\x08\x01\x12\x01\xff", badText},
		{bodyError, "\x08\x01\x12\x01\xff", badText},
		{bodyHello, string(twoRecords), twice},
		{bodyNodes, string(nodes), twice},
		{bodyPing, "\xff", notProtobuf},
		{bodyStored, "\x0a\x01\xff", notProtobuf},
		{bodyNodes, "\x0a\x01\xff", notProtobuf},
		{bodyStore, "\x0a\x01\xff", notProtobuf},
		{bodyStored, "\x0d\x01\x02\x03", notProtobuf}, // a fixed32 cut short
		{bodyProviders, "\x0a\x01\xff", notProtobuf},
		{bodyGetProviders, "\xff", notProtobuf},
		{bodyOffer, "\x0a\x01\xff", notProtobuf},
		{bodyOffer, "\x0a\x00", noKind},
		{bodyWanted, "\x0a\x05\xff", notProtobuf},
		{bodyDialBack, "\x0a\x05\xff", notProtobuf},
		{bodyDialled, "\x0a\x05\xff", notProtobuf},
		{bodyReserve, "\x0a\x05\xff", notProtobuf},
		{bodyReserved, "\x0a\x05\xff", notProtobuf},
		{bodyCall, "\x0a\x05\xff", notProtobuf},
		{bodyCalled, "\x0a\x05\xff", notProtobuf},
	} {
		f, err := ParseFrame(append(protowire.AppendTag(nil, protowire.Number(c.typ), protowire.BytesType), append(appendVarint(nil, len(c.body)), c.body...)...))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Reason != string(c.want) || f.Body != (Unknown{int(c.typ)}) {
			t.Errorf("type %d, %x: got %+v, %v, want %q", c.typ, c.body, f, err, c.want)
		}
	}
}

// What is no frame at all is told apart from a bad message: it ends the connection.
func TestParseMalformed(t *testing.T) {
	ping := AppendFrame(nil, Frame{ID: 1, Body: Ping{}})
	for name, b := range map[string][]byte{
		"empty":          {},
		"id only":        {0x08, 0x01},
		"two bodies":     append(ping[:len(ping):len(ping)], ping[2:]...),
		"body cut short": {0x22, 0x05, 0x00},
		"endless varint": bytes.Repeat([]byte{0xff}, 20),
		"field zero":     {0x02, 0x00},
		"group":          {0x23, 0x24},
		"text":           []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		if f, err := ParseFrame(b); !errors.Is(err, ErrMalformed) || f != (Frame{}) {
			t.Errorf("%s: got %+v, %v, want ErrMalformed", name, f, err)
		}
	}
	// Garbage within the body is that message's fault alone.
	if f, err := ParseFrame([]byte{0x08, 0x05, 0x32, 0x01, 0xff}); f.ID != 5 || err == nil || err.Error() != "invalid FIND_NODE: not protobuf" {
		t.Errorf("got %+v, %v", f, err)
	}
}

// Old and new nodes share a network: unknown values are skipped.
func TestParseUnknown(t *testing.T) {
	extra := []byte{0xf8, 0x7f, 0x01, 0xfa, 0x7f, 0x02, 'h', 'i', 0xfd, 0x7f, 1, 2, 3, 4, 0xf9, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8} // number 2047, of each type
	body := append(AppendFrame(nil, Frame{Body: FindNode{Count: 3}})[2:], extra...)
	frame := append([]byte{0x08, 0x09, 0x32, byte(len(body))}, append(body, extra...)...)
	if f, err := ParseFrame(frame); err != nil || f != (Frame{ID: 9, Body: FindNode{Count: 3}}) {
		t.Errorf("unknown fields: got %+v, %v", f, err)
	}

	// A request of the future can be answered, an answer or a notice is not.
	for typ, want := range map[int]bool{22: true, 23: false, 40: true, 63: false} {
		f, err := ParseFrame(AppendFrame(nil, Frame{ID: 4, Body: Unknown{typ}}))
		if err != nil || f.ID != 4 || f.Body != (Unknown{typ}) || f.IsRequest() != want {
			t.Errorf("type %d: got %+v, %v, request %v", typ, f, err, f.IsRequest())
		}
	}
	if f, err := ParseFrame(AppendFrame(nil, Frame{Body: Unknown{40}})); err != nil || f.IsRequest() {
		t.Errorf("notice: got %+v, %v, request %v", f, err, f.IsRequest())
	}

	// A mode of the future is no server's.
	b, _ := proto.Marshal(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Mode: 9}}})
	if f, err := ParseFrame(b); err != nil || f.Body.(Hello).Mode != ModeClient {
		t.Errorf("mode 9: got %+v, %v", f, err)
	}

	// An observed address cannot be a name.
	b, _ = proto.Marshal(&pb.Frame{Body: &pb.Frame_Observed{Observed: &pb.Observed{Addr: []byte(addrDNS)}}})
	if f, err := ParseFrame(b); err != nil || f.Body != (Observed{}) {
		t.Errorf("observed at a name: got %+v, %v", f, err)
	}

	// An address of the future is left out, its contact is not.
	id := idOf(bob)
	webTransport := []byte("\x04\x01\x02\x03\x04\x91\x02\x12\xa6\xcd\x03\xd1\x03")
	b, _ = proto.Marshal(&pb.Frame{Body: &pb.Frame_Nodes{Nodes: &pb.Nodes{Contacts: []*pb.Contact{
		{Id: id[:], Addrs: [][]byte{webTransport, make([]byte, 300), nil, []byte(addr6)}},
		{Id: id[:], Addrs: [][]byte{webTransport}},
	}}}})
	want := []Contact{{ID: id, Addrs: []Addr{addr6}}, {ID: id}}
	if f, err := ParseFrame(b); err != nil || !reflect.DeepEqual(f.Body.(Nodes).Contacts, want) {
		t.Errorf("addresses: got %+v, %v", f, err)
	}

	// A future kind may be offered: this node will not want it.
	b, _ = proto.Marshal(&pb.Frame{Id: 1, Body: &pb.Frame_Offer{Offer: &pb.Offer{Records: []*pb.Offered{
		{Kind: 6, Key: id[:], Print: id[:16]}, {Kind: 1 << 20, Key: id[:], Print: id[:16]}}}}})
	if f, err := ParseFrame(b); err != nil || f.Body.(Offer).Records[0].Kind != 6 || f.Body.(Offer).Records[1].Kind.Known() {
		t.Errorf("kinds offered: got %+v, %v", f, err)
	}

	// Names and unknown forms are not dialled, and the other addresses stay.
	b, _ = proto.Marshal(&pb.Frame{Id: 1, Body: &pb.Frame_DialBack{DialBack: &pb.DialBack{Addrs: [][]byte{webTransport, []byte(addrDNS), []byte(addr6)}}}})
	if f, err := ParseFrame(b); err != nil || !reflect.DeepEqual(f.Body, DialBack{Addrs: []Addr{addr6}}) {
		t.Errorf("addresses to dial: got %+v, %v", f, err)
	}

	// More contacts than are ever given may be asked for.
	b, _ = proto.Marshal(&pb.Frame{Id: 1, Body: &pb.Frame_FindNode{FindNode: &pb.FindNode{Key: make([]byte, 32), Count: 1000}}})
	if f, err := ParseFrame(b); err != nil || f.Body.(FindNode).Count != MaxContacts {
		t.Errorf("count: got %+v, %v", f, err)
	}

	// One unreadable record does not spoil the batch; Verify refuses it.
	good := openRecord("a", "b")
	b, _ = proto.Marshal(&pb.Frame{Id: 1, Body: &pb.Frame_Store{Store: &pb.Store{Records: []*pb.Signed{
		{Payload: []byte("\x3a\x01x"), Signature: make([]byte, 64)}, signedToPB(good)}}}})
	f, err := ParseFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	rs := f.Body.(Store).Records
	if err := rs[0].Verify(noon); !errors.Is(err, ErrRecord) {
		t.Errorf("unreadable record: %v", err)
	}
	if err := rs[1].Verify(noon); err != nil || !reflect.DeepEqual(rs[1], good) {
		t.Errorf("record beside it: %v", err)
	}
}

// Enums in lists may come packed or not (protobuf encoding, "Packed Repeated Fields").
func TestStoredUnpacked(t *testing.T) {
	f, err := ParseFrame([]byte{0x08, 0x01, 0x5a, 0x07, 0x08, 0x00, 0x0a, 0x01, 0x08, 0x08, 0x03})
	if want := []Code{CodeOK, CodeStale, CodeBusy}; err != nil || !reflect.DeepEqual(f.Body.(Stored).Results, want) {
		t.Errorf("got %+v, %v", f, err)
	}
}

// Text that is not of our making is made fit to send.
func TestInvalidUTF8IsReplaced(t *testing.T) {
	long := strings.Repeat("é", MaxErrorText)
	f, err := ParseFrame(AppendFrame(nil, Frame{ID: 1, Body: Error{Code: CodeInternal, Message: "a\xff" + long}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Body.(Error).Message; len(got) != MaxErrorText || !strings.HasPrefix(long, got[2:]) || got[:2] != "a?" {
		t.Errorf("got %d bytes, %q", len(got), got)
	}
	err = f.Body.(Error)
	if !errors.Is(err, CodeInternal) || !strings.HasPrefix(err.Error(), `peer failed: "a?é`) {
		t.Errorf("as an error: %v", err)
	}
}

// Nothing parsed refers to the input, which a Reader uses again.
func TestParseKeepsNothing(t *testing.T) {
	for name, f := range samples() {
		b := AppendFrame(nil, f)
		got, err := ParseFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%s changed with the input", name)
		}
	}
}

// An allocation budget is a test.
func TestCodecAllocs(t *testing.T) {
	nodes := Frame{ID: 1, Body: Nodes{Contacts: contacts(20)}}
	buf := AppendFrame(nil, nodes)
	if n := testing.AllocsPerRun(100, func() { AppendFrame(buf[:0], nodes) }); n != 0 {
		t.Errorf("encoding NODES: %v allocations, want 0", n)
	}
	// The contacts, their addresses, the bytes of those, and the message itself.
	if n := testing.AllocsPerRun(100, func() { ParseFrame(buf) }); n > 4 {
		t.Errorf("parsing NODES: %v allocations, want 4", n)
	}
	offer := samples()["offer most"]
	offered := AppendFrame(nil, offer)
	if n := testing.AllocsPerRun(100, func() { AppendFrame(offered[:0], offer) }); n != 0 {
		t.Errorf("encoding OFFER: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { ParseFrame(offered) }); n > 2 {
		t.Errorf("parsing OFFER: %v allocations, want 2", n)
	}
	find := AppendFrame(nil, Frame{ID: 1, Body: FindNode{Key: routing.KeyOf("a"), Count: 20}})
	if n := testing.AllocsPerRun(100, func() { ParseFrame(find) }); n > 1 {
		t.Errorf("parsing FIND_NODE: %v allocations, want 1", n)
	}
}
