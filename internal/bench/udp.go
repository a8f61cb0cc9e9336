package bench

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Sizes of the floor's exchange: about a FIND_NODE request and a reply that
// names 20 contacts.
const (
	requestSize = 40
	replySize   = 1200
)

// patience bounds any one exchange on the loopback interface.
const patience = 10 * time.Second

// udpEcho makes m exchanges of bare UDP datagrams with one server, c in flight, each caller on
// its own connected socket.
func udpEcho(ctx context.Context, m, c int) (spent, latencies, error) {
	server, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return spent{}, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		request, reply := make([]byte, 2*replySize), make([]byte, replySize)
		for {
			_, from, err := server.ReadFromUDPAddrPort(request)
			if err != nil {
				return
			}
			if _, err := server.WriteToUDPAddrPort(reply, from); err != nil {
				return
			}
		}
	}()
	defer func() { server.Close(); <-done }()

	type caller struct {
		conn           *net.UDPConn
		request, reply []byte
	}
	callers := make([]caller, c)
	for i := range callers {
		conn, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return spent{}, nil, err
		}
		defer conn.Close()
		conn.SetDeadline(deadline(ctx, time.Minute))
		callers[i] = caller{conn, make([]byte, requestSize), make([]byte, 2*replySize)}
	}
	exchange := func(_ context.Context, worker, _ int) error {
		c := &callers[worker]
		if _, err := c.conn.Write(c.request); err != nil {
			return err
		}
		n, err := c.conn.Read(c.reply)
		if err == nil && n != replySize {
			err = fmt.Errorf("reply of %d bytes, want %d", n, replySize)
		}
		return err
	}
	return measured(ctx, m, c, exchange)
}

// measured drives m operations after a tenth as many unmeasured ones.
func measured(ctx context.Context, m, c int, op operation) (spent, latencies, error) {
	if _, err := drive(ctx, m/10+c, c, op); err != nil {
		return spent{}, nil, err
	}
	meter := start()
	took, err := drive(ctx, m, c, op)
	return meter.stop(), took, err
}

// deadline is ctx's own, or that long from now where it has none nearer.
func deadline(ctx context.Context, d time.Duration) time.Time {
	t := time.Now().Add(d)
	if own, ok := ctx.Deadline(); ok && own.Before(t) {
		return own
	}
	return t
}

func loopback() *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)} }
