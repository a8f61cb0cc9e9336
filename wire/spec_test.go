package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire/pb"
)

// A step of the worked exchange of SPEC.md.
type step struct {
	dir   byte // '>' from Alice, who dialled, to Bob; '<' back
	what  string
	frame Frame
}

// exchange is the conversation that SPEC.md shows.
func exchange() []step {
	key := routing.KeyOf("hello")
	carol := Contact{ID: idOf(testKey(0xca)), Addrs: []Addr{addr4(12, 4774)}}
	bobAddr, aliceAddr := addr4(11, 4774), addr4(10, 40000)
	record := mustSign(Record{Kind: KindOpen, Key: key, Seq: uint64(noon.UnixMilli()),
		Expiry: noon.Add(MaxTTL), Value: []byte("world")}, alice)
	self := mustSign(Record{Kind: KindPeer, Seq: uint64(noon.UnixMilli()), Expiry: noon.Add(MaxTTL),
		Value: mustValue(PeerInfo{Mode: ModeServer, Addrs: []Addr{bobAddr}})}, bob)
	return []step{
		{'>', "HELLO", Frame{Body: Hello{Mode: ModeClient, Agent: "alice/1", Clock: noon, Observed: bobAddr}}},
		{'<', "HELLO, with Bob's signed peer record", Frame{Body: Hello{Mode: ModeServer, Agent: "bob/1", Clock: noon, Observed: aliceAddr, Record: self}}},
		{'>', `FIND_NODE of SHA3-256("hello")`, Frame{ID: 1, Body: FindNode{Key: key, Count: 20}}},
		{'<', "NODES: Carol", Frame{ID: 1, Body: Nodes{Contacts: []Contact{carol}}}},
		{'>', `STORE of an open record, "world"`, Frame{ID: 2, Body: Store{Records: []*Signed{record}, Count: 20, Bound: carol.ID.Key()}}},
		{'<', "STORED: OK, and no peer nearer than Carol", Frame{ID: 2, Body: Stored{Results: []Code{CodeOK}}}},
		{'>', "FIND_VALUE", Frame{ID: 3, Body: FindValue{Key: key, Kind: KindOpen, Count: 20}}},
		{'<', "VALUE: the record as it was stored, and Carol", Frame{ID: 3, Body: Value{Records: []*Signed{record}, Contacts: []Contact{carol}}}},
		{'>', "a request of type 40, which is unknown", Frame{ID: 4, Body: Unknown{40}}},
		{'<', "ERROR", Frame{ID: 4, Body: Error{Code: CodeUnimplemented}}},
		{'>', "PING", Frame{ID: 5, Body: Ping{}}},
		{'<', "PONG", Frame{ID: 5, Body: Pong{}}},
	}
}

// The exchange in SPEC.md, read as a reader would, is the one above.
func TestSpecExchange(t *testing.T) {
	const file = "SPEC.md"
	spec, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec = bytes.ReplaceAll(spec, []byte("\r\n"), []byte("\n"))
	before, rest, ok1 := strings.Cut(string(spec), "```exchange\n")
	block, after, ok2 := strings.Cut(rest, "```\n")
	if !ok1 || !ok2 {
		t.Fatal("SPEC.md has no exchange")
	}
	if *update {
		block = render(exchange())
		if err := os.WriteFile(file, []byte(before+"```exchange\n"+block+"```\n"+after), 0o666); err != nil {
			t.Fatal(err)
		}
	}

	streams := map[byte][]byte{}
	for line := range strings.Lines(block) {
		digits, _, _ := strings.Cut(line, "#")
		digits = strings.TrimSpace(digits)
		if digits == "" {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits[1:], " ", ""))
		if err != nil || digits[0] != '>' && digits[0] != '<' {
			t.Fatalf("line %q: %v", line, err)
		}
		streams[digits[0]] = append(streams[digits[0]], b...)
	}

	readers := map[byte]*Reader{}
	for dir, stream := range streams {
		readers[dir] = NewReader(bytes.NewReader(stream), 0)
	}
	for _, s := range exchange() {
		m, err := readers[s.dir].ReadMessage()
		if err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
		if want := AppendFrame(nil, s.frame); !bytes.Equal(m, want) {
			t.Errorf("%s is\n%x, want\n%x", s.what, m, want)
		}
		if got, err := ParseFrame(m); err != nil || !reflect.DeepEqual(got, s.frame) {
			t.Errorf("%s: got %+v, %v, want %+v", s.what, got, err, s.frame)
		}
		if request := s.dir == '>' && s.frame.ID != 0; s.frame.IsRequest() != request {
			t.Errorf("%s: is a request: %v", s.what, !request)
		}
		for _, r := range recordsOf(s.frame.Body) {
			if err := r.Verify(noon.Add(time.Minute)); err != nil {
				t.Errorf("%s: %v", s.what, err)
			}
		}
	}
	for dir, r := range readers {
		if m, err := r.ReadMessage(); err == nil {
			t.Errorf("%c has one frame more: %x", dir, m)
		}
	}
	if block != render(exchange()) {
		t.Error("the exchange in SPEC.md is not as -update writes it")
	}
}

// SPEC.md states the same numbers as the code.
func TestSpecFacts(t *testing.T) {
	b, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(b)
	facts := []string{
		"`" + ALPN("main") + "`",
		"at most " + fmt.Sprint(MaxFrame), fmt.Sprintf("length over %d", MaxFrame),
		fmt.Sprintf("| contacts in an answer | %d |", MaxContacts),
		fmt.Sprintf("| addresses of a contact or PeerInfo | %d, including unknown forms |", MaxAddrs),
		fmt.Sprintf("| address | %d bytes; a longer one is left out |", MaxAddrLen),
		fmt.Sprintf("| relays in a PeerInfo | %d |", MaxRelays),
		fmt.Sprintf("| records in STORE | %d |", MaxStore),
		fmt.Sprintf("| records in VALUE | %d |", MaxRecords),
		fmt.Sprintf("| records in PROVIDERS, or in VALUE of all | %d, and what fits the frame |", MaxPage),
		fmt.Sprintf("| records named in OFFER | %d |", MaxOffer),
		fmt.Sprintf("| `wants` of WANTED | %d bytes |", MaxOffer/8),
		fmt.Sprintf("| `print` of a record offered | %d bytes |", len(Print{})),
		fmt.Sprintf("| addresses in DIAL_BACK | %d |", MaxDialBack),
		fmt.Sprintf("| bytes of a dial-back before the address answers | %d |", DialBytes),
		fmt.Sprintf("| `intro` of CALL and CALLED | 1 to %d bytes |", MaxCandidateOffer),
		fmt.Sprintf("| `padding` of CALL and CALLED | %d bytes |", MaxPadding),
		fmt.Sprintf("| addresses in an Introduction | %d, including unknown forms; the first %d may be guesses |", MaxCandidates, MaxGuess),
		fmt.Sprintf("%q ‖ Introduction", candidateOfferDomain),
		fmt.Sprintf("| `payload` of a Signed | %d bytes |", MaxPayload),
		fmt.Sprintf("| `value` of a record | %d bytes; %d of", MaxValue, MaxPeerRecord),
		fmt.Sprintf("| `name` | %d bytes |", MaxName),
		fmt.Sprintf("| `agent` | %d bytes |", MaxAgent),
		fmt.Sprintf("| `message` of ERROR | %d bytes |", MaxErrorText),
		fmt.Sprintf("| `protocol` of StreamHeader | %d bytes; its frame %d |", MaxProtocol, maxStreamHeader),
		fmt.Sprintf("1 to %d (the end of the year 9999)", int64(maxMillis)),
		fmt.Sprintf("%q ‖ payload\n", recordDomain), fmt.Sprintf("%q ‖ publisher ‖ name", ownedDomain), fmt.Sprintf("%q ‖ payload)", hashDomain),
	}
	for code := CodeOK; int(code) < len(codeNames); code++ {
		facts = append(facts, fmt.Sprintf("| %d | %s | ", code, code.String()))
	}
	for kind := KindContent; kind.Known(); kind++ {
		facts = append(facts, fmt.Sprintf("| %d %s | ", kind, strings.ToUpper(kind.String())))
	}
	for typ, name := range bodyNames {
		if name != "" {
			facts = append(facts, fmt.Sprintf("**%s** (%d", name, typ))
		}
	}
	for _, fact := range facts {
		fact = strings.ReplaceAll(fact, `\x00`, `\0`)
		if !strings.Contains(spec, fact) {
			t.Errorf("SPEC.md does not say %q", fact)
		}
	}
}

func recordsOf(m Message) []*Signed {
	switch m := m.(type) {
	case Hello:
		if m.Record != nil {
			return []*Signed{m.Record}
		}
	case Store:
		return m.Records
	case Value:
		return m.Records
	case Providers:
		return m.Records
	}
	return nil
}

// render writes the exchange with one field per line.
func render(steps []step) string {
	var out strings.Builder
	for _, c := range []struct {
		name string
		key  PeerID
		seed byte
	}{{"Alice", idOf(alice), 0xa1}, {"Bob", idOf(bob), 0xb0}, {"Carol", idOf(testKey(0xca)), 0xca}} {
		fmt.Fprintf(&out, "# %s's private key (the seed of RFC 8032) is 32 times %x, the peer ID\n#   %s\n", c.name, c.seed, c.key)
	}
	for _, s := range steps {
		fmt.Fprintf(&out, "\n# %s\n", s.what)
		b := AppendFrame(nil, s.frame)
		r := renderer{out: &out, dir: s.dir}
		r.line(0, "length", appendVarint(nil, len(b)))
		r.message(0, b, (&pb.Frame{}).ProtoReflect().Descriptor())
	}
	return out.String()
}

type renderer struct {
	out *strings.Builder
	dir byte
}

// line writes bytes, 32 to a line, and on the first what they are.
func (r renderer) line(depth int, what string, b []byte) {
	for ; len(b) > 0; what = "" {
		n := min(len(b), 32)
		line := fmt.Sprintf("%c %s% x", r.dir, strings.Repeat("  ", depth), b[:n])
		if what != "" {
			line = fmt.Sprintf("%-53s # %s", line, what)
		}
		r.out.WriteString(line + "\n")
		b = b[n:]
	}
}

// message writes the fields of an encoded message, each with its name.
func (r renderer) message(depth int, b []byte, d protoreflect.MessageDescriptor) {
	c := scan(b)
	for start := 0; c.next(); start = c.at {
		name, sub := fmt.Sprintf("unknown, type %d", c.num), protoreflect.MessageDescriptor(nil)
		if f := d.Fields().ByNumber(c.num); f != nil {
			name, sub = string(f.Name()), f.Message()
			if name == "payload" {
				sub = (&pb.Record{}).ProtoReflect().Descriptor()
			}
		}
		switch {
		case sub != nil:
			r.line(depth, name, c.in[start:c.from])
			r.message(depth+1, c.data(), sub)
		case c.typ == bytesType && len(c.data()) >= 32:
			r.line(depth, name, c.in[start:c.from])
			r.line(depth+1, "", c.data())
		default:
			r.line(depth, name, c.in[start:c.at])
		}
	}
}
