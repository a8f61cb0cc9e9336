package field

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// The floor for hauls: a bare stream of quic-go between two hosts, configured with the flow
// control windows of package quic and no other code of this project.
func floorConfig() (*tls.Config, *quicgo.Config) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	certificate, _ := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	return &tls.Config{
			Certificates:       []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
			NextProtos:         []string{"floor"},
			InsecureSkipVerify: true,
		}, &quicgo.Config{
			HandshakeIdleTimeout:       patience,
			MaxIdleTimeout:             patience,
			MaxStreamReceiveWindow:     8 << 20,
			MaxConnectionReceiveWindow: 16 << 20,
		}
}

// serveFloor accepts and discards streams until the program ends.
func serveFloor(at string) error {
	t, c := floorConfig()
	l, err := quicgo.ListenAddr(at, t, c)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				if s, err := conn.AcceptStream(context.Background()); err == nil {
					takeBulk(floorStream{s, conn})
				}
			}()
		}
	}()
	return nil
}

// floor sends bytes to the floor of another host.
func (p *program) floor(ctx context.Context, o order) (any, error) {
	t, c := floorConfig()
	conn, err := quicgo.DialAddr(ctx, o.Addrs[0], t, c)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := sendBulk(floorStream{s, conn}, o.Bytes); err != nil {
		return nil, err
	}
	return haul{time.Since(start), "floor"}, nil
}

// A floorStream is a net.Conn with CloseWrite, as the streams of nodes are.
type floorStream struct {
	*quicgo.Stream
	*quicgo.Conn
}

func (s floorStream) Close() error             { return s.Stream.Close() }
func (s floorStream) CloseWrite() error        { return s.Stream.Close() }
func (s floorStream) Context() context.Context { return s.Stream.Context() }
