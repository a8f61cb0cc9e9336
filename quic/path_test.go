package quic

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hub is a relay for the transports that are at it.
type hub struct {
	delay time.Duration
	cut   atomic.Bool
	bytes atomic.Int64
	heard sync.Map // PublicKey to *Transport
}

// config is newKey's, with the hub for a relay.
func (h *hub) config(tb testing.TB) Config {
	c := newKey(tb)
	self := PublicOf(c.Key)
	c.Relay = func(to PublicKey, b []byte) {
		if len(b) > VirtualPacketSize {
			tb.Errorf("%d bytes for the relay", len(b))
		}
		t, ok := h.heard.Load(to)
		if !ok || h.cut.Load() {
			return
		}
		h.bytes.Add(int64(len(b)))
		if h.delay == 0 {
			t.(*Transport).Deliver(self, b)
			return
		}
		b = append([]byte(nil), b...)
		time.AfterFunc(h.delay, func() { t.(*Transport).Deliver(self, b) })
	}
	return c
}

func (h *hub) start(tb testing.TB, c Config, socket net.PacketConn) *Transport {
	tb.Helper()
	t := start(tb, c, socket)
	h.heard.Store(t.PublicKey(), t)
	return t
}

// call dials the made-up address of y.
func call(tb testing.TB, x, y *Transport) (dialled, accepted *Conn) {
	tb.Helper()
	addr, err := x.Virtual(y.PublicKey())
	check(tb, err)
	dialled, err = x.Dial(tb.Context(), addr, y.PublicKey())
	check(tb, err)
	accepted, err = y.Accept(tb.Context())
	check(tb, err)
	return dialled, accepted
}

// direct lets packets from x to y go straight.
func direct(tb testing.TB, x, y *Transport) {
	tb.Helper()
	check(tb, x.SetPath(y.PublicKey(), Path{Kind: Punched, Addr: y.LocalAddr()}))
}

func relayed(tb testing.TB, x, y *Transport) {
	tb.Helper()
	check(tb, x.SetPath(y.PublicKey(), Path{Kind: Relayed}))
}

// inBoth runs a test over real sockets of this machine and in memory.
func inBoth(t *testing.T, loss float64, f func(t *testing.T, h *hub, listen func() net.PacketConn)) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			f(t, &hub{}, func() net.PacketConn { return listenLoopback(t, ip) })
		})
	}
	t.Run("sim", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			s.mtu = 1280 - 48
			f(t, &hub{delay: 25 * time.Millisecond}, func() net.PacketConn { return &dice{s.listen(), loss} })
		})
	})
}

// dice loses packets.
type dice struct {
	net.PacketConn
	loss float64
}

func (d *dice) WriteTo(b []byte, to net.Addr) (int, error) {
	if rand.Float64() < d.loss {
		return len(b), nil
	}
	return d.PacketConn.WriteTo(b, to)
}

// What two peers say goes on, whole and in order, while the path of either
// direction changes again and again, at either side's wish.
func TestPathsChangeBeneath(t *testing.T) {
	inBoth(t, 0.05, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
		c, d := call(t, x, y)
		s, r := streams(t, c, d)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for _, ends := range [][2]*Stream{{s, r}, {r, s}} {
			wg.Go(func() { count(t, ends[0], stop) })
			wg.Go(func() { recount(t, ends[1]) })
		}
		begin, n := time.Now(), 0
		for time.Since(begin) < 2*time.Second {
			a, b := x, y
			if n%2 == 1 {
				a, b = y, x
			}
			if n/2%2 == 0 {
				direct(t, a, b)
			} else {
				relayed(t, a, b)
			}
			n++
			time.Sleep(50 * time.Millisecond)
		}
		close(stop)
		wg.Wait()
		for _, c := range []*Conn{c, d} {
			if !isName(addrPort(c.q.RemoteAddr()).Addr()) || c.Err() != nil {
				t.Errorf("QUIC thinks it speaks to %v; %v", c.q.RemoteAddr(), c.Err())
			}
		}
	})
}

// count writes numbers until stop, then 0.
func count(t *testing.T, w io.Writer, stop <-chan struct{}) {
	var b [1000]byte
	for n := uint64(1); ; n++ {
		binary.BigEndian.PutUint64(b[:], n)
		select {
		case <-stop:
			clear(b[:])
		default:
		}
		if _, err := w.Write(b[:]); err != nil {
			t.Error(err)
			return
		}
		if b == [1000]byte{} {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// recount reads what count writes.
func recount(t *testing.T, r io.Reader) {
	var b [1000]byte
	for n := uint64(1); ; n++ {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			t.Error(err)
			return
		}
		switch got := binary.BigEndian.Uint64(b[:]); {
		case got == 0:
			if n < 100 {
				t.Errorf("only %d messages came", n)
			}
			return
		case got != n:
			t.Errorf("message %d came, want %d", got, n)
			return
		}
	}
}

// Much goes by each kind of path, whole, and by no other.
func TestOnePathOnly(t *testing.T) {
	const size = 4 << 20
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		for _, kind := range []PathKind{Relayed, Punched} {
			x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
			h.cut.Store(kind == Punched)
			if kind == Punched {
				direct(t, x, y)
				direct(t, y, x)
			}
			before := h.bytes.Load()
			c, d := call(t, x, y)
			s, r := streams(t, c, d)
			go func() {
				_, _ = s.Write(make([]byte, size))
				_ = s.CloseWrite()
			}()
			if n, err := io.Copy(io.Discard, r); n != size || err != nil {
				t.Errorf("%v: %d bytes came, %v", kind, n, err)
			}
			if n := h.bytes.Load() - before; (n > size) != (kind == Relayed) {
				t.Errorf("%v: %d bytes went by relay", kind, n)
			}
			if p := c.Path(); p.Kind != kind || d.Path().Kind != kind || p.Quiet {
				t.Errorf("paths are %v and %v, want %v", p, d.Path(), kind)
			}
			if kind == Punched && (c.RemoteAddr() != y.LocalAddr() || addrPort(r.RemoteAddr()) != x.LocalAddr()) {
				t.Errorf("remote addresses are %v and %v", c.RemoteAddr(), r.RemoteAddr())
			}
		}
	})
}

// Two peers may have an ordinary connection and a virtual one, between the same
// two addresses.
func TestBothKindsAtOneAddress(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		x, y := h.start(t, h.config(t), listen()), h.start(t, h.config(t), listen())
		direct(t, x, y)
		direct(t, y, x)
		var ends [][2]*Stream
		for i := range 6 {
			c, d := connect, call
			if i%2 == 1 {
				c, d = d, c
			}
			a, b := c(t, x, y)
			s, r := streams(t, a, b)
			if a.Virtual() != (i%2 == 1) || b.Virtual() != a.Virtual() {
				t.Errorf("connection %d: virtual %v and %v", i, a.Virtual(), b.Virtual())
			}
			ends = append(ends, [2]*Stream{s, r})
			_ = d
		}
		for _, e := range ends {
			echo(t, e[0], e[1])
			echo(t, e[1], e[0])
		}
	})
}

// Who dials a made-up address straight, unannounced, gets an ordinary connection
// at the other side.
func TestUnannounced(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		h.cut.Store(true)
		x, y := h.start(t, h.config(t), listen()), start(t, newKey(t), listen())
		direct(t, x, y)
		c, d := call(t, x, y)
		s, r := streams(t, c, d)
		echo(t, s, r)
		if !c.Virtual() || d.Virtual() {
			t.Errorf("virtual %v and %v", c.Virtual(), d.Virtual())
		}
	})
}

// "After 500 ms of silence on an active path ...": what is sent then goes by relay
// as well, on both sides, and the path is taken again when it is back.
func TestSilentPathHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{delay: 50 * time.Millisecond}
		wire := &atomic.Bool{}
		var changes atomic.Int32
		one, two := h.config(t), h.config(t)
		one.PathChanged = func(PublicKey) { changes.Add(1) }
		x, y := h.start(t, one, &scissors{s.listen(), wire}), h.start(t, two, &scissors{s.listen(), wire})
		direct(t, x, y)
		direct(t, y, x)
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		exchange := func() time.Duration {
			begin := time.Now()
			echo(t, w, r)
			echo(t, r, w)
			return time.Since(begin)
		}
		exchange()
		if n := h.bytes.Load(); n != 0 {
			t.Errorf("%d bytes went by relay while the path was well", n)
		}
		time.Sleep(20 * time.Second)
		for range 3 {
			changes.Store(0)
			wire.Store(true)
			if took := exchange(); took > 1500*time.Millisecond {
				t.Errorf("healing took %v", took)
			}
			if !c.Path().Quiet || changes.Load() == 0 {
				t.Errorf("the path is %v, %d changes were told", c.Path(), changes.Load())
			}
			if took := exchange(); took > time.Second {
				t.Errorf("then %v", took)
			}
			time.Sleep(30 * time.Second)
			exchange()
			wire.Store(false)
			time.Sleep(2 * time.Second)
			exchange()
			time.Sleep(2 * time.Second)
			exchange()
			time.Sleep(2 * time.Second)
			if c.Path().Quiet || d.Path().Quiet {
				t.Errorf("paths are %v and %v", c.Path(), d.Path())
			}
			before := h.bytes.Load()
			exchange()
			if n := h.bytes.Load() - before; n != 0 {
				t.Errorf("%d bytes went by relay when the path was back", n)
			}
		}
	})
}

// scissors cut a wire.
type scissors struct {
	net.PacketConn
	cut *atomic.Bool
}

func (s *scissors) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.cut.Load() {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

// A host that moves tells nobody: its packets come from another address, are taken
// nevertheless, and the other side hears of it.
func TestRoaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 20*time.Millisecond)
		h := &hub{}
		h.cut.Store(true)
		type stray struct {
			key  PublicKey
			from netip.AddrPort
		}
		for _, dialler := range []bool{true, false} {
			strays := make(chan stray, 100)
			conf := h.config(t)
			conf.Stray = func(key PublicKey, _ *Port, from netip.AddrPort) { strays <- stray{key, from} }
			moving := newMover(s.listen(), s.listen())
			x, y := h.start(t, h.config(t), moving), h.start(t, conf, s.listen())
			direct(t, x, y)
			direct(t, y, x)
			c, d := x, y
			if !dialler {
				c, d = y, x
			}
			a, b := call(t, c, d)
			w, r := streams(t, a, b)
			if !dialler {
				w, r = r, w
			}
			echo(t, w, r)
			time.Sleep(time.Second)
			moving.move()
			begin := time.Now()
			go func() { _, _ = w.Write([]byte("from elsewhere")) }()
			got := make([]byte, 14)
			_, err := io.ReadFull(r, got)
			check(t, err)
			st := <-strays
			if st.key != x.PublicKey() || st.from != addrPort(moving.socks[1].LocalAddr()) {
				t.Errorf("a stray of %v at %v", st.key, st.from)
			}
			check(t, y.SetPath(st.key, Path{Kind: Punched, Addr: st.from})) // having probed it
			echo(t, r, w)
			if took := time.Since(begin); took > 1500*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if p := b.q.RemoteAddr(); !isName(addrPort(p).Addr()) {
				t.Errorf("QUIC followed to %v", p)
			}
		}
	})
}

// A mover sends from one of two sockets, and receives at that alone.
type mover struct {
	socks [2]net.PacketConn
	at    atomic.Int32
	in    chan came
	done  chan struct{}
}

type came struct {
	b    []byte
	from net.Addr
}

func newMover(a, b net.PacketConn) *mover {
	m := &mover{socks: [2]net.PacketConn{a, b}, in: make(chan came, 100), done: make(chan struct{})}
	for i, s := range m.socks {
		go func() {
			for {
				b := make([]byte, 2000)
				n, from, err := s.ReadFrom(b)
				if err != nil {
					return
				}
				if int(m.at.Load()) == i {
					select {
					case m.in <- came{b[:n], from}:
					case <-m.done:
					}
				}
			}
		}()
	}
	return m
}

func (m *mover) move() { m.at.Add(1) }

func (m *mover) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case c := <-m.in:
		return copy(b, c.b), c.from, nil
	case <-m.done:
		return 0, nil, net.ErrClosed
	}
}

func (m *mover) WriteTo(b []byte, to net.Addr) (int, error) {
	return m.socks[m.at.Load()].WriteTo(b, to)
}
func (m *mover) LocalAddr() net.Addr              { return m.socks[0].LocalAddr() }
func (m *mover) SetDeadline(time.Time) error      { return nil }
func (m *mover) SetReadDeadline(time.Time) error  { return nil }
func (m *mover) SetWriteDeadline(time.Time) error { return nil }
func (m *mover) Close() error {
	close(m.done)
	m.socks[0].Close()
	return m.socks[1].Close()
}

// Nobody can have us send a stranger more bytes than it sent itself.
func TestNoAmplification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 20 * time.Millisecond}
		victims := make([]*tally, maxCandidates+4)
		var candidates []netip.AddrPort
		for i := range victims {
			victims[i] = newTally(s.listen())
			defer victims[i].Close()
			candidates = append(candidates, addrPort(victims[i].LocalAddr()))
		}
		x, y := h.start(t, h.config(t), s.listen()), h.start(t, h.config(t), s.listen())
		check(t, x.Race(y.PublicKey(), candidates))
		check(t, y.Race(x.PublicKey(), candidates))
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		var got int64
		for _, v := range victims {
			got += v.bytes.Load()
		}
		if sent := h.bytes.Load(); got == 0 || got > sent {
			t.Errorf("candidates got %d bytes, %d went by relay", got, sent)
		}
		// And nothing but handshakes: that what was said does not go there.
		time.Sleep(time.Second)
		before := got
		go func() { _, _ = w.Write(make([]byte, 1<<20)) }()
		_, err := io.ReadFull(r, make([]byte, 1<<20))
		check(t, err)
		got = 0
		for _, v := range victims {
			got += v.bytes.Load()
		}
		if got != before {
			t.Errorf("candidates got %d bytes more", got-before)
		}
	})
}

// A tally counts what comes.
type tally struct {
	net.PacketConn
	bytes atomic.Int64
}

func newTally(s net.PacketConn) *tally {
	v := &tally{PacketConn: s}
	go func() {
		b := make([]byte, 2000)
		for {
			n, _, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			v.bytes.Add(int64(n))
		}
	}()
	return v
}

// Whoever sends to us from an address that we do not know hears nothing there
// about a virtual connection.
func TestStrayGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		h := &hub{delay: 20 * time.Millisecond}
		var last atomic.Pointer[[]byte]
		relay := h.config(t)
		send := relay.Relay
		relay.Relay = func(to PublicKey, b []byte) {
			kept := append([]byte(nil), b...)
			last.Store(&kept)
			send(to, b)
		}
		x, y := h.start(t, relay, s.listen()), h.start(t, h.config(t), s.listen())
		c, d := call(t, x, y)
		w, r := streams(t, c, d)
		echo(t, w, r)
		victim := newTally(s.listen())
		defer victim.Close()
		for range 100 { // somebody repeats a packet, with a false sender
			_, err := victim.WriteTo(*last.Load(), net.UDPAddrFromAddrPort(y.LocalAddr()))
			check(t, err)
		}
		echo(t, w, r)
		echo(t, r, w)
		time.Sleep(time.Second)
		if n := victim.bytes.Load(); n != 0 {
			t.Errorf("the address was sent %d bytes", n)
		}
		if p := d.Path(); p.Kind != Relayed {
			t.Errorf("the path is %v", p)
		}
	})
}

// A relay that says a packet is from somebody else gets nobody a connection.
func TestRelayLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 10*time.Millisecond)
		conf, other := newKey(t), PublicOf(newKey(t).Key)
		var x, y *Transport
		conf.Relay = func(_ PublicKey, b []byte) { y.Deliver(other, b) }
		x = start(t, conf, s.listen())
		conf = newKey(t)
		conf.Relay = func(_ PublicKey, b []byte) { x.Deliver(y.PublicKey(), b) }
		y = start(t, conf, s.listen())
		addr, err := x.Virtual(y.PublicKey())
		check(t, err)
		go func() {
			if c, err := y.Accept(t.Context()); err == nil {
				t.Errorf("accepted %v", c.RemoteKey())
			}
		}()
		c, err := x.Dial(t.Context(), addr, y.PublicKey())
		if err == nil {
			<-c.Done()
		}
	})
}

// A peer that restarts resets the connections that it knows no more, by relay and
// at an address alike.
func TestRestartResets(t *testing.T) {
	for _, kind := range []PathKind{Relayed, Punched} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 10*time.Millisecond)
			h := &hub{delay: 10 * time.Millisecond}
			conf := h.config(t)
			x := h.start(t, h.config(t), s.listen())
			socket := s.listen()
			addr := socket.LocalAddr().(*net.UDPAddr)
			conf.Conn = &mute{PacketConn: socket}
			y, err := NewTransport(conf)
			check(t, err)
			h.heard.Store(y.PublicKey(), y)
			if kind == Punched {
				direct(t, x, y)
			}
			c, d := call(t, x, y)
			w, r := streams(t, c, d)
			echo(t, w, r)
			h.cut.Store(true)
			conf.Conn.(*mute).on.Store(true)
			check(t, y.Close())
			time.Sleep(time.Second)
			h.cut.Store(false)
			s.next = addr.IP.To4()[3] - 1
			y = h.start(t, conf, s.listen())
			_, err = w.Write(make([]byte, 100)) // what is shorter than a reset gets none
			check(t, err)
			<-c.Done()
			want(t, c.Err(), ErrForgotten)
		})
	}
}

// mute says nothing once it is on.
type mute struct {
	net.PacketConn
	on atomic.Bool
}

func (m *mute) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.on.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

func TestProbes(t *testing.T) {
	inBoth(t, 0, func(t *testing.T, h *hub, listen func() net.PacketConn) {
		type probe struct {
			from netip.AddrPort
			b    string
		}
		got := make(chan probe, 10)
		conf := h.config(t)
		conf.Probe = func(_ *Port, from netip.AddrPort, b []byte) { got <- probe{from, string(b)} }
		x, y := h.start(t, h.config(t), listen()), h.start(t, conf, listen())
		for _, b := range []string{"\x01", "\x3fping", "\x00" + string(make([]byte, maxProbe-1))} {
			check(t, x.SendProbe(y.LocalAddr(), []byte(b)))
			if p := <-got; p.b != b || p.from != x.LocalAddr() {
				t.Errorf("got %q of %v", p.b, p.from)
			}
		}
		for _, b := range [][]byte{nil, {0x40}, {0xc0, 1}, make([]byte, maxProbe+1)} {
			if x.SendProbe(y.LocalAddr(), b) == nil {
				t.Errorf("%d bytes are a probe", len(b))
			}
		}
		connect(t, x, y)
	})
}

func TestPathArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, time.Millisecond)
		h := &hub{}
		x, y := h.start(t, h.config(t), s.listen()), start(t, newKey(t), s.listen())
		other := PublicOf(newKey(t).Key)
		_, err := y.Virtual(other)
		want(t, err, errNoPaths)
		want(t, y.SetPath(other, Path{Kind: Relayed}), errNoPaths)
		y.Deliver(other, make([]byte, 100))
		_, err = x.Virtual(x.PublicKey())
		want(t, err, ErrWrongKey)
		if _, ok := x.PathTo(other); ok {
			t.Error("there is a path to somebody unheard of")
		}
		name, err := x.Virtual(other)
		check(t, err)
		for _, a := range []string{"0.0.0.0:1", "[::]:1", "192.0.2.1:0", "224.0.0.1:1", name.String()} {
			if x.SetPath(other, Path{Addr: netip.MustParseAddrPort(a)}) == nil {
				t.Errorf("a path to %v", a)
			}
		}
		_, err = x.Dial(t.Context(), name, y.PublicKey())
		want(t, err, ErrUnreachable)
		if again, _ := x.Virtual(other); again != name {
			t.Errorf("%v, then %v", name, again)
		}
		begin := time.Now()
		_, err = x.Dial(t.Context(), name, other) // nobody at the hub
		want(t, err, ErrTimeout)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		for p, wants := range map[Path]string{
			{Kind: Relayed}: "relayed",
			{Kind: Punched, Addr: y.LocalAddr(), Quiet: true}: fmt.Sprintf("punched %v (quiet)", y.LocalAddr()),
		} {
			check(t, x.SetPath(other, p))
			if p.String() != wants {
				t.Errorf("%q, want %q", p, wants)
			}
		}
	})
}
