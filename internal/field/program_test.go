package field

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

// settingVariable names the environment variable that holds a setting and makes the test
// binary run as the program.
const settingVariable = "KADQUIC_FIELD_SETTING"

const networkName = "field"

// A setting is the configuration of the program.
type setting struct {
	Bootstrap []string
	Port      uint16
	Client    bool
	Trace     bool
	Floor     string // address of the floor, if it is to run there
}

// An order is a line that the program reads.
type order struct {
	N       int    // of the order; its reply has it too
	Do      string // one of orders
	Peer    string
	Addrs   []string
	Bytes   int64
	Count   int
	Of      uint64 // a conversation
	For     time.Duration
	Forgery forgery
}

// A said is a line that the program writes: the reply to an order, or first, with N
// zero, its ID.
type said struct {
	N      int
	Err    string
	Result json.RawMessage
}

// A program is a node that takes orders.
type program struct {
	node    *node.Node
	out     *json.Encoder
	outMu   sync.Mutex // guards out
	paths   pathLog
	numbers numberings
}

// orders has all orders. Each may block.
var orders = map[string]func(*program, context.Context, order) (any, error){
	"state":   (*program).state,
	"connect": (*program).connect,
	"learn":   (*program).learn,
	"find":    (*program).find,
	"ping":    (*program).ping,
	"call":    (*program).call,
	"hang up": (*program).hangUp,
	"number":  (*program).number,
	"report":  (*program).report,
	"gap":     (*program).gap,
	"enough":  (*program).enough,
	"bulk":    (*program).bulk,
	"floor":   (*program).floor,
	"reserve": (*program).reserve,
	"flood":   (*program).flood,
	"forge":   (*program).forge,
	"lurk":    (*program).lurk,
}

// runProgram runs a node until its input ends.
func runProgram(text string, in io.Reader, out, errs io.Writer) error {
	var s setting
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	p := &program{out: json.NewEncoder(out)}
	config, err := s.config(p, errs)
	if err != nil {
		return err
	}
	if p.node, err = node.New(config); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := p.node.Start(ctx); err != nil && !errors.Is(err, node.ErrUnreachable) { // it goes on trying
		return err
	}
	defer p.node.Close()
	for protocol, serve := range map[string]func(net.Conn){
		echoProtocol: echo, bulkProtocol: takeBulk, numbersProtocol: p.numbers.answer,
	} {
		l, err := p.node.Listen(protocol)
		if err != nil {
			return err
		}
		go serveAll(l, serve)
	}
	if s.Floor != "" {
		if err := serveFloor(s.Floor); err != nil {
			return err
		}
	}
	p.reply(0, map[string]string{"ID": p.node.ID().String()}, nil)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		go func() {
			result, err := orders[o.Do](p, ctx, o)
			p.reply(o.N, result, err)
		}()
	}
	return nil
}

func (s setting) config(p *program, errs io.Writer) (node.Config, error) {
	c := node.Config{Network: networkName, NoPortMapping: true, Trace: &node.Trace{}}
	if s.Client {
		c.Mode = node.ModeClient
	}
	listen, err := ma.NewMultiaddr(fmt.Sprintf("/ip6/::/udp/%d/quic-v1", s.Port))
	if err != nil {
		return c, err
	}
	if s.Port != 0 {
		c.Listen = []ma.Multiaddr{listen}
	}
	for _, text := range s.Bootstrap {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return c, err
		}
		c.Bootstrap = append(c.Bootstrap, a)
	}
	p.paths.watch(c.Trace)
	if s.Trace {
		c.Logger = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		tracePaths(c.Trace, errs)
	}
	return c, nil
}

func serveAll(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

func (p *program) reply(n int, result any, err error) {
	s := said{N: n}
	if err != nil {
		s.Err = err.Error()
	} else {
		s.Result, err = json.Marshal(result)
	}
	p.outMu.Lock()
	defer p.outMu.Unlock()
	if p.out.Encode(s) != nil || err != nil && s.Err == "" {
		os.Exit(1) // the reader is gone, or the value cannot be encoded
	}
}

// A state is a node's view of itself.
type state struct {
	ID      string
	Addrs   []string
	Peers   int      // in the routing table
	Conns   int      // connections open
	Mode    string   // how it presents itself
	IPv4    string   // how its NAT maps
	IPv6    string   // likewise
	Relays  []string // peer IDs of the relays that hold its reservations
	Reached bool     // an unsolicited connection has come in
}

func (p *program) state(context.Context, order) (any, error) {
	s := state{ID: p.node.ID().String(), Peers: len(p.node.Peers()), Conns: p.node.Stats().Connections}
	for _, a := range p.node.Addrs() {
		s.Addrs = append(s.Addrs, a.String())
	}
	r := p.node.Reachability()
	s.Mode, s.IPv4, s.IPv6 = r.Mode.String(), r.IPv4.Mapping.String(), r.IPv6.Mapping.String()
	for _, a := range r.Addrs {
		s.Reached = s.Reached || a.Reach == node.ReachYes
	}
	s.Relays = relaysOf(p.node)
	return s, nil
}

// connect connects to a peer at an address.
func (p *program) connect(ctx context.Context, o order) (any, error) {
	for _, text := range o.Addrs {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, err
		}
		if _, err := p.node.Connect(ctx, a); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// hangUp closes the connection to a peer.
func (p *program) hangUp(_ context.Context, o order) (any, error) {
	id, err := wire.ParsePeerID(o.Peer)
	if err != nil {
		return nil, err
	}
	p.node.ClosePeer(id)
	return nil, nil
}
