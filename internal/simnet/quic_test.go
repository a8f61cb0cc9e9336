package simnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// patient outlives the cut of the test below.
var patient = &quicgo.Config{MaxIdleTimeout: 2 * time.Minute, KeepAlivePeriod: 5 * time.Second}

// echo returns a connection from alice to a server at bob that returns what it
// reads.
func echo(t *testing.T, n *Network) *quicgo.Conn {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := quicgo.Listen(n.Listen(bob), &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		NextProtos:   []string{"echo"},
	}, patient)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := listener.Accept(t.Context())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(t.Context())
					if err != nil {
						return
					}
					go func() {
						io.Copy(s, s)
						s.Close()
					}()
				}
			}()
		}
	}()
	c, err := quicgo.Dial(t.Context(), n.Listen(alice), net.UDPAddrFromAddrPort(bob), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"echo"},
	}, patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.CloseWithError(0, "")
		listener.Close()
		n.Close()
	})
	return c
}

// roundTrip sends b and returns the reply.
func roundTrip(t *testing.T, c *quicgo.Conn, b []byte) []byte {
	t.Helper()
	s, err := c.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s.Write(b)
		s.Close()
	}()
	got, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestQUICThroughLossAndPartition(t *testing.T) {
	inBubble(t, Options{Delay: 50 * time.Millisecond, Loss: 0.05, Seed: 1}, func(t *testing.T, n *Network) {
		want := make([]byte, 1<<20)
		rand.Read(want)
		c := echo(t, n)
		if got := roundTrip(t, c, want); !bytes.Equal(got, want) {
			t.Error("a mebibyte came back changed")
		}
		if s := n.Stats(); s.Lost == 0 {
			t.Errorf("nothing was lost: %+v", s)
		}
		n.Partition([]netip.AddrPort{alice})
		heal := time.AfterFunc(30*time.Second, n.Heal)
		defer heal.Stop()
		start := time.Now()
		if got := roundTrip(t, c, want); !bytes.Equal(got, want) {
			t.Error("after a partition a mebibyte came back changed")
		}
		if took := time.Since(start); took < 30*time.Second {
			t.Errorf("it came back in %v through a cut of 30s", took)
		}
	})
}

func TestQUICToTheDeadTimesOut(t *testing.T) {
	inBubble(t, Options{Delay: 50 * time.Millisecond}, func(t *testing.T, n *Network) {
		c := echo(t, n)
		roundTrip(t, c, []byte("alive"))
		n.Kill(bob)
		start := time.Now()
		<-c.Context().Done()
		err := context.Cause(c.Context())
		if _, ok := errors.AsType[*quicgo.IdleTimeoutError](err); !ok {
			t.Errorf("the connection ended with %v, want an idle timeout", err)
		}
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("it took %v to notice", took)
		}
	})
}
