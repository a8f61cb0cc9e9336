package node

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha3"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kadquic/kadquic/wire"
)

// A rawPeer is a peer written from SPEC.md: it uses QUIC, TLS and protobuf's wire
// format, and of package wire only the type of a peer ID. So it can break every rule.
type rawPeer struct {
	t   *testing.T
	tr  *quicgo.Transport
	tls *tls.Config
	at  netip.AddrPort
	id  wire.PeerID
}

// rawPeer makes the i-th raw peer, which shows one certificate of its key, or those
// given.
func (s *testNetwork) rawPeer(i int, certs ...tls.Certificate) *rawPeer {
	s.t.Helper()
	key := testKey(3000 + i)
	if certs == nil {
		certs = []tls.Certificate{rawCertificate(s.t, key)}
	}
	at := host(3000 + i)
	p := &rawPeer{t: s.t, tr: &quicgo.Transport{Conn: s.net.Listen(at)}, at: at, id: idOf(key)}
	hash := sha3.Sum256([]byte("main"))
	p.tls = &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"kadquic/1/" + hex.EncodeToString(hash[:4])},
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil },
		Certificates:           certs,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true,
	}
	s.t.Cleanup(func() {
		p.tr.Close()
		p.tr.Conn.Close()
	})
	return p
}

func rawCertificate(t *testing.T, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	// The issuer does not matter.
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A weakKey signs without a secret for a public key of small order: R is the key
// itself, S is 0.
type weakKey [32]byte

func (k weakKey) Public() crypto.PublicKey { return ed25519.PublicKey(k[:]) }

func (k weakKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return append(k[:], make([]byte, 32)...), nil
}

var rawConfig = &quicgo.Config{MaxIncomingUniStreams: -1, EnableDatagrams: true}

// dial connects to a node. An error may also come later, when the node has looked at
// the certificate.
func (p *rawPeer) dial(n *Node) (*quicgo.Conn, error) {
	at, _ := n.addrs()[0].AddrPort()
	return p.tr.Dial(within(p.t, 10*time.Second), net.UDPAddrFromAddrPort(at), p.tls, rawConfig)
}

// open connects to a node and opens the RPC stream, on which it says nothing.
func (p *rawPeer) open(n *Node) *rawTalk {
	p.t.Helper()
	c, err := p.dial(n)
	if err != nil {
		p.t.Fatalf("raw peer dials: %v", err)
	}
	stream, err := c.OpenStream()
	if err != nil {
		p.t.Fatalf("raw peer opens a stream: %v", err)
	}
	return &rawTalk{t: p.t, peerID: p.id, conn: c, stream: stream, in: bufio.NewReader(stream)}
}

// meet is open with a HELLO each way, as a client.
func (p *rawPeer) meet(n *Node) *rawTalk {
	p.t.Helper()
	k := p.open(n)
	k.send(0, 2, num(1, 2))
	if _, typ, _, err := k.read(); err != nil || typ != 2 {
		p.t.Fatalf("the node's first frame is of type %d, %v", typ, err)
	}
	return k
}

// accept takes the connection of a node that dials, and its RPC stream.
func (p *rawPeer) accept(ctx context.Context, l *quicgo.Listener) (*rawTalk, error) {
	c, err := l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := c.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return &rawTalk{t: p.t, peerID: p.id, conn: c, stream: stream, in: bufio.NewReader(stream)}, nil
}

// A rawTalk is a raw peer's connection and its RPC stream.
type rawTalk struct {
	t      *testing.T
	conn   *quicgo.Conn
	stream *quicgo.Stream
	in     *bufio.Reader
	asked  uint64
	peerID wire.PeerID // the raw peer's own
}

// write sends bytes.
func (k *rawTalk) write(b []byte) {
	k.t.Helper()
	if _, err := k.stream.Write(b); err != nil {
		k.t.Fatalf("raw peer writes: %v", err)
	}
}

// send sends a frame with one body.
func (k *rawTalk) send(id uint64, typ protowire.Number, body []byte) {
	k.t.Helper()
	k.write(framed(slices.Concat(num(1, id), blob(typ, body))))
}

// framed puts the length before a frame.
func framed(b []byte) []byte { return append(protowire.AppendVarint(nil, uint64(len(b))), b...) }

// num and blob are fields of a message.
func num(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func blob[B ~[]byte | ~string](n protowire.Number, v B) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), string(v))
}

// many repeats a field.
func many(field []byte, times int) []byte { return slices.Repeat(field, times) }

// read returns the next frame.
func (k *rawTalk) read() (id uint64, typ protowire.Number, body []byte, err error) {
	k.stream.SetReadDeadline(time.Now().Add(10 * time.Second))
	var length uint64
	for shift := 0; ; shift += 7 {
		b, err := k.in.ReadByte()
		if err != nil {
			return 0, 0, nil, err
		}
		if length |= uint64(b&0x7f) << shift; b < 0x80 {
			break
		}
	}
	frame := make([]byte, length)
	if _, err := io.ReadFull(k.in, frame); err != nil {
		return 0, 0, nil, err
	}
	for len(frame) > 0 {
		n, t, used := protowire.ConsumeField(frame)
		if used < 0 {
			return 0, 0, nil, errors.New("the node's frame is not protobuf")
		}
		value := frame[protowire.SizeTag(n):used]
		switch {
		case n == 1 && t == protowire.VarintType:
			id, _ = protowire.ConsumeVarint(value)
		case t == protowire.BytesType:
			typ = n
			body, _ = protowire.ConsumeBytes(value)
		}
		frame = frame[used:]
	}
	return id, typ, body, nil
}

// ask sends a request and returns type and body of the answer.
func (k *rawTalk) ask(typ protowire.Number, body []byte) (protowire.Number, []byte) {
	k.t.Helper()
	k.asked++
	k.send(k.asked, typ, body)
	for {
		id, typ, body, err := k.read()
		if err != nil {
			k.t.Fatalf("raw peer waits for an answer: %v", err)
		}
		if id == k.asked && typ%2 == 1 {
			return typ, body
		}
	}
}

// wantError asks and wants an ERROR with that code.
func (k *rawTalk) wantError(what string, typ protowire.Number, body []byte, code uint64) {
	k.t.Helper()
	got, answer := k.ask(typ, body)
	if got != 3 || rawUint(answer, 1) != code {
		k.t.Errorf("%s: the answer is of type %d, %x, want ERROR with code %d", what, got, answer, code)
	}
}

// wantAnswer asks and wants the answer of that type.
func (k *rawTalk) wantAnswer(what string, typ protowire.Number, body []byte) (answer []byte) {
	k.t.Helper()
	got, answer := k.ask(typ, body)
	if got != typ+1 {
		k.t.Errorf("%s: the answer is of type %d, %x, want %d", what, got, answer, typ+1)
	}
	return answer
}

// wantAlive wants a PONG.
func (k *rawTalk) wantAlive(what string) {
	k.t.Helper()
	k.wantAnswer(what+", then PING", 4, nil)
}

// wantClosed wants the connection to be closed by the node within 10 s.
func (k *rawTalk) wantClosed(what string, code uint64) {
	k.t.Helper()
	select {
	case <-k.conn.Context().Done():
	case <-time.After(10 * time.Second):
		k.t.Errorf("%s: the connection is still open", what)
		return
	}
	closed, ok := errors.AsType[*quicgo.ApplicationError](context.Cause(k.conn.Context()))
	if !ok || !closed.Remote || uint64(closed.ErrorCode) != code {
		k.t.Errorf("%s: the connection ended with %v, want code %d", what, context.Cause(k.conn.Context()), code)
	}
}

// rawUint returns a varint field of a message, 0 if there is none.
func rawUint(b []byte, field protowire.Number) uint64 {
	for len(b) > 0 {
		n, t, used := protowire.ConsumeField(b)
		if used < 0 {
			break
		}
		if n == field && t == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b[protowire.SizeTag(n):])
			return v
		}
		b = b[used:]
	}
	return 0
}

// rawBytes returns a length-delimited field of a message, nil if there is none.
func rawBytes(b []byte, field protowire.Number) []byte {
	for len(b) > 0 {
		n, t, used := protowire.ConsumeField(b)
		if used < 0 {
			break
		}
		if n == field && t == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[protowire.SizeTag(n):])
			return v
		}
		b = b[used:]
	}
	return nil
}

// rawRecord signs a record as SPEC.md §6 says.
func rawRecord(signer crypto.Signer, kind uint64, key [32]byte, value []byte) []byte {
	publisher := signer.Public().(ed25519.PublicKey)
	payload := slices.Concat(num(1, kind), blob(2, key[:]), blob(3, publisher), num(5, 1),
		num(6, uint64(time.Now().Add(time.Hour).UnixMilli())))
	if len(value) > 0 {
		payload = append(payload, blob(7, value)...)
	}
	signature, err := signer.Sign(nil, append([]byte("kadquic record v1\x00"), payload...), crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return slices.Concat(blob(1, payload), blob(2, signature))
}
