package quic_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/quic"
)

// Two peers that know one another by key and address.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := listen(), listen()
	defer alice.Close()
	defer bob.Close()

	go func() {
		c, err := bob.Accept(ctx)
		if err != nil {
			return
		}
		s, err := c.AcceptStream(ctx)
		if err != nil {
			return
		}
		defer s.Close()
		if question, err := io.ReadAll(s); err == nil {
			fmt.Fprintf(s, "%s Yes, and you are Alice: %v.", question, c.RemoteKey() == alice.PublicKey())
		}
	}()

	c, err := alice.Dial(ctx, bob.LocalAddr(), bob.PublicKey())
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := c.OpenStream(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(s, "Is this Bob?")
	s.CloseWrite()
	answer, err := io.ReadAll(s)
	fmt.Println(string(answer), err)
	// Output: Is this Bob? Yes, and you are Alice: true. <nil>
}

func listen() *quic.Transport {
	key, err := quic.GenerateKey()
	if err != nil {
		panic(err)
	}
	socket, err := quic.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		panic(err)
	}
	t, err := quic.NewTransport(quic.Config{Key: key, ALPN: "example/1", Conn: socket})
	if err != nil {
		panic(err)
	}
	return t
}
