package quic

import "crypto/tls"

// serverTLS is the TLS of accepted connections: any one Ed25519 key, if admitted.
func (t *Transport) serverTLS() *tls.Config {
	c := t.tls()
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		key, err := keyOf(s.PeerCertificates)
		if err != nil {
			return err
		}
		return t.admit(key)
	}
	return c
}

// clientTLS returns the TLS configuration of a connection to want only.
func (t *Transport) clientTLS(want PublicKey) *tls.Config {
	c := t.tls()
	c.InsecureSkipVerify = true // no authorities; VerifyConnection pins the key
	c.VerifyConnection = func(s tls.ConnectionState) error {
		got, err := keyOf(s.PeerCertificates)
		if err != nil {
			return err
		}
		if got != want {
			return &KeyError{Want: want, Got: got}
		}
		return t.admit(got)
	}
	return c
}

func (t *Transport) tls() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{t.cert},
		NextProtos:             []string{t.c.ALPN},
		SessionTicketsDisabled: true,
	}
}

func (t *Transport) admit(key PublicKey) error {
	if t.c.Admit == nil {
		return nil
	}
	if err := t.c.Admit(key); err != nil {
		return &admitError{key: key, err: err}
	}
	return nil
}
