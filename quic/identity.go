package quic

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/kadquic/kadquic/internal/peerkey"
)

// A PublicKey is an Ed25519 public key: the identity of a peer. It is comparable;
// the zero value means no peer.
type PublicKey [ed25519.PublicKeySize]byte

// PublicOf returns the public half of key, which must be a whole private key.
func PublicOf(key ed25519.PrivateKey) PublicKey {
	return PublicKey(key.Public().(ed25519.PublicKey))
}

// String is 64 hex digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Compare orders keys bytewise: -1, 0 or +1. Of two simultaneous dials the one
// made by the smaller key stays.
func (k PublicKey) Compare(o PublicKey) int { return bytes.Compare(k[:], o[:]) }

// GenerateKey makes a fresh identity.
func GenerateKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// certificate makes the one self-signed leaf that key shows in every handshake.
// Peers look at nothing in it but the public key, so it says nothing else; that
// the peer holds the private key is proved by TLS's CertificateVerify.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 §4.1.2.5: no expiry
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{
		Certificate:                  [][]byte{der},
		PrivateKey:                   crypto.Signer(key),
		Leaf:                         leaf,
		SupportedSignatureAlgorithms: []tls.SignatureScheme{tls.Ed25519},
	}, nil
}

// keyOf reads the peer's key from a handshake, and insists on the one form a
// peer may have: exactly one certificate, of a valid Ed25519 key.
func keyOf(certs []*x509.Certificate) (PublicKey, error) {
	if len(certs) != 1 {
		return PublicKey{}, fmt.Errorf("quic: the peer showed %d certificates, not one", len(certs))
	}
	key, ok := certs[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return PublicKey{}, errors.New("quic: the peer's certificate is not of an Ed25519 key")
	}
	if !peerkey.Valid([32]byte(key)) {
		return PublicKey{}, errors.New("quic: the peer's key is of small order or not canonically encoded: it proves nothing")
	}
	return PublicKey(key), nil
}
