package node

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// Streams are handled with who opened them, no more at a time than is said, and of
// one peer half of that; Close waits for them.
func TestHandle(t *testing.T) {
	inSwarm(t, 4, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		const protocol = "/test"
		callers := make(chan wire.PeerID, 100)
		if _, err := s.nodes[0].Handle(protocol, 4, func(c *Stream) {
			callers <- c.Peer()
			io.Copy(c, c)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.nodes[0].Handle(protocol, 4, func(*Stream) {}); err == nil {
			t.Error("a protocol has two handlers")
		}
		answers := func(c net.Conn) bool {
			t.Helper()
			c.SetDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "x"); err != nil {
				return false
			}
			_, err := io.ReadFull(c, make([]byte, 1))
			return err == nil
		}
		var open []net.Conn
		for i := range 2 {
			for range 2 {
				c := s.dial(i+1, 0, protocol)
				if !answers(c) {
					t.Fatalf("a stream of node %d is not handled", i+1)
				}
				open = append(open, c)
			}
		}
		third := s.dial(1, 0, protocol)
		var reset *quic.ResetError
		if _, err := third.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetBusy {
			t.Errorf("a third stream of one peer: %v, want it refused", err)
		}
		third.Close()
		waits := s.dial(3, 0, protocol)
		if answers(waits) {
			t.Error("more are handled than is said")
		}
		if len(callers) != 4 {
			t.Fatalf("%d were handled", len(callers))
		}
		open[3].Close() // makes room
		if !answers(waits) {
			t.Error("what waits is not handled when there is room")
		}
		want := []wire.PeerID{s.nodes[1].ID(), s.nodes[1].ID(), s.nodes[2].ID(), s.nodes[2].ID(), s.nodes[3].ID()}
		for i := range want {
			if from := <-callers; from != want[i] {
				t.Errorf("stream %d is of node %d", i, slices.IndexFunc(s.nodes, func(n *Node) bool { return n.ID() == from }))
			}
		}
		s.nodes[0].Close() // though streams are open
		synctest.Wait()
		for _, c := range append(open, waits) {
			c.Close()
		}
		if _, err := s.nodes[0].Handle("/other", 1, func(*Stream) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("a node that is closed handles streams: %v", err)
		}
	})
}

// Shutdown waits for streams that are being served and accepts no others; Close resets them. The
// protocol is free again afterwards.
func TestHandlerEnds(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		serve := func() *Handler {
			h, err := s.nodes[0].Handle("/test", 4, func(c *Stream) { io.Copy(c, c) })
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		begun := func() *Stream {
			c := s.dial(1, 0, "/test")
			io.WriteString(c, "x")
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return c
		}
		h, c := serve(), begun()
		done := make(chan error)
		go func() { done <- h.Shutdown(within(t, time.Minute)) }()
		time.Sleep(time.Second)
		other := s.dial(1, 0, "/test")
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, ErrNoProtocol) {
			t.Errorf("a stream during Shutdown: %v", err)
		}
		other.Close()
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned %v while a stream is served", err)
		default:
		}
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		h, c = serve(), begun()
		if err := h.Shutdown(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown with an idle stream: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the stream after it: %v, want it reset", err)
		}
		c.Close()
		h, c = serve(), begun()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		h.Close() // again
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the stream after Close: %v, want it reset", err)
		}
		c.Close()
		serve().Close()
	})
}

// AcceptStream ends with its context, and with the listener.
func TestAcceptStreamEnds(t *testing.T) {
	inSwarm(t, 1, simnet.Options{}, func(t *testing.T, s *testNetwork) {
		ln, err := s.nodes[0].Listen("/test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ln.AcceptStream(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}
		ln.Close()
		if _, err := ln.AcceptStream(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("of a closed listener: %v", err)
		}
	})
}
