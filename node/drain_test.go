package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/quic"
	"github.com/kadquic/kadquic/wire"
)

// What was written to a stream before it was closed arrives though the node is closed at
// once: few bytes and many, by the side that dialled and by the side that accepted, with
// packets that are lost, and to a peer that reads late.
func TestCloseLetsPeersRead(t *testing.T) {
	for _, size := range []int{5, 1 << 20} {
		for _, accepted := range []bool{false, true} {
			for _, late := range []time.Duration{0, 300 * time.Millisecond} {
				for seed := range uint64(3) {
					name := fmt.Sprintf("%d bytes, accepted %v, read after %v, seed %d", size, accepted, late, seed)
					t.Run(name, func(t *testing.T) {
						o := simnet.Options{Delay: 10 * time.Millisecond, Loss: .02, Seed: seed}
						inSwarm(t, 2, o, func(t *testing.T, s *testNetwork) { closeAfterWriting(t, s, size, accepted, late) })
					})
				}
			}
		}
	}
}

// closeAfterWriting closes node 1 when it has written to a stream and closed it; node 0
// reads.
func closeAfterWriting(t *testing.T, s *testNetwork, size int, accepted bool, late time.Duration) {
	var reader, writer net.Conn
	var err error
	if accepted { // the other side has ended its direction long ago, as after a question
		ln := s.listen(1, "/x")
		reader = s.dial(0, 1, "/x")
		reader.(interface{ CloseWrite() error }).CloseWrite()
		if writer, err = ln.Accept(); err == nil {
			_, err = io.ReadAll(writer)
		}
	} else {
		ln := s.listen(0, "/x")
		writer = s.dial(1, 0, "/x")
		reader, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("words"), size/5+1)[:size]
	got := make(chan []byte, 1)
	go func() {
		time.Sleep(late)
		b, err := io.ReadAll(reader)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		reader.Close()
		got <- b
	}()
	if _, err := writer.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.nodes[1].Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > closeGrace+500*time.Millisecond {
		t.Errorf("Close took %v", took)
	}
	if b := <-got; !bytes.Equal(b, data) {
		t.Errorf("%d bytes of %d were read", len(b), len(data))
	}
}

// Close also waits for a stream that began just before, which the peer has not seen yet.
func TestCloseLetsPeersReadNewStreams(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := simnet.Options{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: .05, Seed: seed}
			inSwarm(t, 2, o, func(t *testing.T, s *testNetwork) {
				const streams = 5
				ln := s.listen(0, "/x")
				got := make(chan string, streams)
				go func() {
					for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
						go func() {
							b, _ := io.ReadAll(c)
							c.Close()
							got <- string(b)
						}()
					}
				}()
				for range streams {
					c := s.dial(1, 0, "/x")
					io.WriteString(c, "last words")
					c.Close()
				}
				s.nodes[1].Close()
				for range streams {
					select {
					case b := <-got:
						if b != "last words" {
							t.Errorf("the peer has read %q", b)
						}
					case <-time.After(time.Minute):
						t.Fatal("a stream was lost")
					}
				}
			})
		})
	}
}

// Close waits no longer than its grace for a peer that does not read, or is gone, and
// not at all where no stream was used. Kill never waits.
func TestCloseIsBounded(t *testing.T) {
	tests := map[string]struct {
		prepare  func(*testNetwork)
		end      func(*Node) error
		min, max time.Duration
	}{
		"no stream":           {func(*testNetwork) {}, (*Node).Close, 0, 100 * time.Millisecond},
		"peer does not read":  {func(s *testNetwork) { leaveUnread(s) }, (*Node).Close, closeGrace, closeGrace + 100*time.Millisecond},
		"peer is gone":        {func(s *testNetwork) { leaveUnread(s); s.kill(0) }, (*Node).Close, closeGrace, closeGrace + 100*time.Millisecond},
		"killed, not closed":  {func(s *testNetwork) { leaveUnread(s) }, (*Node).Kill, 0, 0},
		"peer gives it up":    {func(s *testNetwork) { leaveUnread(s).Close() }, (*Node).Close, 0, 100 * time.Millisecond},
		"peer knows no drain": {func(s *testNetwork) { leaveUnread(s); s.nodes[0].closeListeners() }, (*Node).Close, 0, closeGrace + 100*time.Millisecond},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				c.prepare(s)
				time.Sleep(100 * time.Millisecond)
				start := time.Now()
				if err := c.end(s.nodes[1]); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took < c.min || took > c.max {
					t.Errorf("it took %v, want %v to %v", took, c.min, c.max)
				}
			})
		})
	}
}

// leaveUnread lets node 1 write to node 0, which accepts the stream and does not read it.
func leaveUnread(s *testNetwork) net.Conn {
	ln := s.listen(0, "/x")
	c := s.dial(1, 0, "/x")
	io.WriteString(c, "never read")
	c.Close()
	accepted, err := ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return accepted
}

// Two nodes that close at the same time do not wait for each other, and a reader learns that the other
// side leaves.
func TestCloseOfBothEnds(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		ln := s.listen(0, "/x")
		var open []net.Conn
		for range 3 {
			c := s.dial(1, 0, "/x")
			accepted, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c, accepted)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for _, n := range s.nodes {
			wg.Go(func() { n.Close() })
		}
		wg.Wait()
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("both took %v to close", took)
		}
		for _, c := range open {
			if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a stream that was open when its node closed: %v", err)
			}
			c.Close()
		}
	})
}

// A stream that the application left open ends with an error at the other side: the
// peer must not take what has come for all there is.
func TestCloseResetsOpenStreams(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		ln := s.listen(0, "/x")
		c := s.dial(1, 0, "/x")
		defer c.Close()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(accepted)
			ended <- err
		}()
		io.WriteString(c, "half a sen")
		synctest.Wait()
		s.nodes[1].Close()
		var reset *quic.ResetError
		if err := <-ended; !errors.As(err, &reset) || reset.Code != wire.ResetLeaving {
			t.Errorf("read: %v, want a reset that says that the peer leaves", err)
		}
	})
}

// A peer cannot keep a drain request open for ever, nor an application take its name.
func TestDrainIsBounded(t *testing.T) {
	inSwarm(t, 2, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
		if _, err := s.nodes[0].Listen(wire.ProtocolDrain); err == nil {
			t.Error("an application listens for the node's own protocol")
		}
		accepted := leaveUnread(s)
		defer accepted.Close()
		drain := s.dial(1, 0, wire.ProtocolDrain)
		defer drain.Close()
		start := time.Now()
		var reset *quic.ResetError
		if _, err := drain.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != wire.ResetBusy {
			t.Errorf("drain: %v", err)
		}
		if took := time.Since(start); took > maxDrain+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
