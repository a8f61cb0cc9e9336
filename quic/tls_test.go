package quic

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// A ClientHello names the network and nothing else: not the peer, not us.
func TestClientHelloHasNoServerName(t *testing.T) {
	key := newKey(t).Key
	cert, err := certificate(key)
	check(t, err)
	u := listenLoopback(t, "127.0.0.1")
	defer u.Close()
	tr := &quicgo.Transport{Conn: u}
	defer tr.Close()
	hellos := make(chan *tls.ClientHelloInfo, 1)
	_, err = tr.Listen(&tls.Config{
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"test/1"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hellos <- hello
			return nil, nil
		},
	}, nil)
	check(t, err)
	x := newLoopback(t, "127.0.0.1")
	c, err := x.Dial(t.Context(), addrPort(u.LocalAddr()), PublicOf(key)) // it asks for no client certificate
	check(t, err)
	hello := <-hellos
	if hello.ServerName != "" {
		t.Errorf("SNI %q", hello.ServerName)
	}
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != "test/1" {
		t.Errorf("ALPN %q", hello.SupportedProtos)
	}
	if len(hello.SupportedVersions) != 1 || hello.SupportedVersions[0] != tls.VersionTLS13 {
		t.Errorf("versions %x", hello.SupportedVersions)
	}
	if hello.SupportedCurves[0] != tls.X25519MLKEM768 {
		t.Errorf("curves %v", hello.SupportedCurves)
	}
	check(t, c.Close(0, ""))
}

// A forger signs with R = A and S = 0, without a secret, in the name of a public
// key of small order.
type forger struct{ public ed25519.PublicKey }

func (f forger) Public() crypto.PublicKey { return f.public }

func (f forger) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return append(slices.Clone(f.public), make([]byte, 32)...), nil
}

// forged makes the certificate of a key that has no secret: the neutral
// element, in either encoding.
func forged(t *testing.T, sign byte) tls.Certificate {
	key := forger{make(ed25519.PublicKey, ed25519.PublicKeySize)}
	key.public[0], key.public[31] = 1, sign
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	leaf := newKey(t).Key // which key has signed the certificate does not matter
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.public, leaf)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A key without a secret cannot be dialled either.
func TestServersWithWeakKeysAreRefused(t *testing.T) {
	u := listenLoopback(t, "127.0.0.1")
	defer u.Close()
	tr := &quicgo.Transport{Conn: u}
	defer tr.Close()
	cert := forged(t, 0)
	_, err := tr.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"test/1"}, ClientAuth: tls.RequireAnyClientCert}, nil)
	check(t, err)
	x := newLoopback(t, "127.0.0.1")
	c, err := x.Dial(t.Context(), addrPort(u.LocalAddr()), PublicKey(cert.PrivateKey.(forger).public))
	if err == nil || !strings.Contains(err.Error(), "small order") {
		t.Errorf("dialled: %v, %v", c, err)
	}
}

// A peer shows exactly one certificate, of an Ed25519 key, and holds that key.
func TestCertificatesRefused(t *testing.T) {
	y := newLoopback(t, "127.0.0.1")
	one, err := certificate(newKey(t).Key)
	check(t, err)
	two := one
	two.Certificate = append(two.Certificate, one.Certificate[0])
	stolen := one
	stolen.PrivateKey = newKey(t).Key
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, curve.Public(), curve)
	check(t, err)

	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(t, err)
	defer u.Close()
	tr := &quicgo.Transport{Conn: u}
	defer tr.Close()
	dial := func(certs ...tls.Certificate) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(y.LocalAddr()), &tls.Config{
			Certificates:       certs,
			NextProtos:         []string{"test/1"},
			InsecureSkipVerify: true,
		}, nil)
		if err != nil {
			return err
		}
		if _, err = c.AcceptStream(ctx); ctx.Err() != nil { // until y says no
			return nil
		}
		return err
	}
	for name, certs := range map[string][]tls.Certificate{
		"none": nil, "two": {two}, "of a curve we do not speak": {{Certificate: [][]byte{der}, PrivateKey: curve}},
		"somebody else's": {stolen}, "of a key of small order": {forged(t, 0)}, "and not canonical": {forged(t, 0x80)},
	} {
		if err := dial(certs...); err == nil {
			t.Errorf("a certificate, %s, was taken", name)
		}
	}

	accepted := make(chan *Conn)
	go func() {
		c, err := y.Accept(t.Context())
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	go func() { _ = dial(one) }()
	c := <-accepted
	if key, _ := keyOf([]*x509.Certificate{one.Leaf}); c.RemoteKey() != key {
		t.Errorf("accepted %v", c.RemoteKey())
	}
}
