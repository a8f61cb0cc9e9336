package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// rawALPN names the floor's protocol.
const rawALPN = "kadquic-floor"

// rawPeer is a QUIC endpoint without code of this project: quic-go on a UDP socket, TLS 1.3 with
// an Ed25519 certificate on both sides, the acceptor's key pinned by the dialler. It is
// configured as in package quic, so that the difference is the cost of that package. It
// answers the exchanges of echo.go on every stream of every connection.
type rawPeer struct {
	socket *net.UDPConn
	tr     *quicgo.Transport
	public ed25519.PublicKey
	server *tls.Config
	handle handler
	serves sync.WaitGroup
}

// handler serves one stream that the other side has opened, and closes it.
type handler func(io.ReadWriteCloser)

var rawConfig = &quicgo.Config{
	InitialPacketSize:    1232,
	HandshakeIdleTimeout: 5 * time.Second,
	MaxIdleTimeout:       65 * time.Second,
	MaxIncomingStreams:   100,
}

func newRawPeer(handle handler) (*rawPeer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return nil, err
	}
	p := &rawPeer{
		socket: socket,
		tr:     &quicgo.Transport{Conn: socket},
		public: public,
		handle: handle,
		server: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			NextProtos:             []string{rawALPN},
			Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}},
			ClientAuth:             tls.RequireAnyClientCert,
			SessionTicketsDisabled: true,
			VerifyConnection:       pinned(nil),
		},
	}
	ln, err := p.tr.Listen(p.server, rawConfig)
	if err != nil {
		socket.Close()
		return nil, err
	}
	p.serves.Go(func() {
		for {
			conn, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			p.serves.Go(func() { p.serve(conn) })
		}
	})
	return p, nil
}

// pinned accepts one self-signed certificate, and only that key's unless it
// is nil. TLS itself has parsed the certificate and checked that the other
// side holds its key.
func pinned(want ed25519.PublicKey) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) != 1 {
			return fmt.Errorf("%d certificates, want 1", len(s.PeerCertificates))
		}
		key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
		if !ok || want != nil && !bytes.Equal(key, want) {
			return errors.New("not the key that was dialled")
		}
		return nil
	}
}

// towards returns the TLS settings with which p dials to.
func (p *rawPeer) towards(to *rawPeer) *tls.Config {
	c := p.server.Clone()
	c.InsecureSkipVerify = true // the pinned key is the verification
	c.VerifyConnection = pinned(to.public)
	return c
}

func (p *rawPeer) dial(ctx context.Context, to *rawPeer, config *tls.Config) (*quicgo.Conn, error) {
	return p.tr.Dial(ctx, to.socket.LocalAddr(), config, rawConfig)
}

// serve answers on every stream that the other side opens, until the
// connection ends.
func (p *rawPeer) serve(conn *quicgo.Conn) {
	for {
		str, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		p.serves.Go(func() { p.handle(str) })
	}
}

// close ends p's connections without a word, and waits for its goroutines.
func (p *rawPeer) close() {
	p.tr.Close()
	p.socket.Close()
	p.serves.Wait()
}

// pair is two raw peers and a way from the first to the second.
type pair struct {
	a, b *rawPeer
	tls  *tls.Config
}

func newPair(handle handler) (*pair, error) {
	a, err := newRawPeer(handle)
	if err != nil {
		return nil, err
	}
	b, err := newRawPeer(handle)
	if err != nil {
		a.close()
		return nil, err
	}
	return &pair{a: a, b: b, tls: a.towards(b)}, nil
}

func (p *pair) dial(ctx context.Context) (*quicgo.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p.a.dial(ctx, p.b, p.tls)
}

func (p *pair) close() {
	p.a.close()
	p.b.close()
}
