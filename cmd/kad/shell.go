package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kadquic/kadquic/internal/control"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A shell runs the commands of the testnet against a fleet.
type shell struct {
	app   *app
	fleet *fleet
}

// A shellCommand is one command: its arguments for the help, their number, and its
// function.
type shellCommand struct {
	name, args, help string
	min, max         int
	run              func(*shell, context.Context, []string) error
}

var shellCommands []shellCommand

func init() { // help names the list, which names help
	shellCommands = []shellCommand{
		{"new", "[VIA]", "start one more node, which joins through node VIA", 0, 1, (*shell).new},
		{"insert", "I KEY VALUE", "node I stores VALUE under KEY", 3, 3, (*shell).insert},
		{"get", "I KEY", "node I finds the value of KEY", 2, 2, (*shell).get},
		{"kill", "I", "end node I, without a goodbye", 1, 1, (*shell).kill},
		{"table", "I", "show node I's routing table", 1, 1, (*shell).table},
		{"nodes", "", "list the nodes", 0, 0, (*shell).nodes},
		{"help", "", "list the commands", 0, 0, (*shell).help},
		{"quit", "", "end the network", 0, 0, func(*shell, context.Context, []string) error { return errQuit }},
	}
}

// commandsHelp lists the commands; a test holds it against shellCommands.
const commandsHelp = `  new [VIA]           start one more node, which joins through node VIA
  insert I KEY VALUE  node I stores VALUE under KEY
  get I KEY           node I finds the value of KEY
  kill I              end node I, without a goodbye
  table I             show node I's routing table
  nodes               list the nodes
  help                list the commands
  quit                end the network

I and VIA are numbers of nodes. A KEY or VALUE with blanks stands in "double"
quotes, where \" \\ \n \t \xNN mean what they do in Go, or in 'single' ones, where
all is meant as it stands. A # begins a comment.
`

var errQuit = errors.New("quit")

// run executes one line. A blank one is no command and no error.
func (s *shell) run(ctx context.Context, line string) error {
	words, err := splitWords(line)
	if err != nil || len(words) == 0 {
		return err
	}
	name, args := words[0], words[1:]
	for _, c := range shellCommands {
		if c.name != name {
			continue
		}
		if len(args) < c.min || len(args) > c.max {
			return fmt.Errorf("usage: %s", strings.TrimSpace(c.name+" "+c.args))
		}
		err := s.app.within(ctx, func(ctx context.Context) error { return c.run(s, ctx, args) })
		if err == nil || errors.Is(err, errQuit) {
			return err
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("unknown command %q; \"help\" lists them", name)
}

// member finds the living node that a word names.
func (s *shell) member(word string) (*member, error) {
	number, err := strconv.Atoi(word)
	if err != nil {
		return nil, fmt.Errorf("%q is not the number of a node", word)
	}
	return s.fleet.member(number)
}

func (s *shell) new(ctx context.Context, args []string) error {
	var via *member
	if len(args) == 1 {
		m, err := s.member(args[0])
		if err != nil {
			return err
		}
		via = m
	} else {
		living := s.fleet.living()
		if len(living) == 0 {
			return errors.New("no node lives that it could join through")
		}
		via = living[0]
	}
	m, err := s.fleet.add(ctx, via)
	if err != nil {
		return err
	}
	s.app.object(struct {
		Command string      `json:"command"`
		Node    int         `json:"node"`
		ID      wire.PeerID `json:"id"`
	}{"new", m.number, m.ID()})
	s.app.print("node %d, joined through node %d", m.number, via.number)
	return nil
}

func (s *shell) insert(ctx context.Context, args []string) error {
	m, err := s.member(args[0])
	if err != nil {
		return err
	}
	if len(args[2]) > wire.MaxValue {
		return fmt.Errorf("the value has %d bytes; at most %d can be stored", len(args[2]), wire.MaxValue)
	}
	stored, err := m.Put(ctx, routing.KeyOf(args[1]), []byte(args[2]), nil)
	if err != nil {
		return err
	}
	s.app.object(struct {
		Command string      `json:"command"`
		Node    int         `json:"node"`
		Key     routing.Key `json:"key"`
		Stored  int         `json:"stored"`
		Of      int         `json:"of"`
	}{"insert", m.number, stored.Key, stored.Count, stored.Of})
	s.app.print("%v", stored)
	return nil
}

func (s *shell) get(ctx context.Context, args []string) error {
	m, err := s.member(args[0])
	if err != nil {
		return err
	}
	key := routing.KeyOf(args[1])
	start := time.Now()
	value, err := control.Local(m.Node, control.Options{}).Get(ctx, control.Get{Kind: control.Kind(wire.KindOpen), Key: key})
	if err != nil {
		return getError(args[1], err)
	}
	s.app.object(struct {
		Command string `json:"command"`
		Node    int    `json:"node"`
		valueJSON
	}{"get", m.number, newValueJSON(value, time.Since(start))})
	s.app.print("%s", wire.Printable(string(value.Data)))
	return nil
}

func (s *shell) kill(_ context.Context, args []string) error {
	m, err := s.member(args[0])
	if err != nil {
		return err
	}
	if err := s.fleet.kill(m); err != nil {
		return err
	}
	s.app.object(struct {
		Command string `json:"command"`
		Node    int    `json:"node"`
	}{"kill", m.number})
	s.app.print("node %d is dead", m.number)
	return nil
}

func (s *shell) table(_ context.Context, args []string) error {
	m, err := s.member(args[0])
	if err != nil {
		return err
	}
	type contact struct {
		Node *int        `json:"node,omitempty"`
		ID   wire.PeerID `json:"id"`
		Key  routing.Key `json:"key"`
	}
	type bucket struct {
		Bits         int       `json:"bits"` // that its keys share with the node's own
		Last         bool      `json:"last"` // or more
		Contacts     []contact `json:"contacts"`
		Silent       int       `json:"silent"` // contacts that did not answer lately
		Replacements int       `json:"replacements"`
	}
	buckets := []bucket{}
	for _, b := range m.Table() {
		j := bucket{Bits: b.Depth, Last: b.Last, Contacts: []contact{}, Silent: b.Marked, Replacements: b.Replacements}
		for _, c := range b.Contacts {
			jc := contact{ID: c.ID, Key: c.Key()}
			if number, ok := s.fleet.number(c.ID); ok {
				jc.Node = &number
			}
			j.Contacts = append(j.Contacts, jc)
		}
		buckets = append(buckets, j)
	}
	s.app.object(struct {
		Command string      `json:"command"`
		Node    int         `json:"node"`
		ID      wire.PeerID `json:"id"`
		Key     routing.Key `json:"key"`
		Buckets []bucket    `json:"buckets"`
	}{"table", m.number, m.ID(), m.Key(), buckets})

	s.app.print("node %d, %s, key %s", m.number, m.ID(), m.Key())
	for _, b := range buckets {
		share := plural(b.Bits, "bit") + " in common"
		if b.Last {
			share = plural(b.Bits, "bit") + " or more"
		}
		names := make([]string, len(b.Contacts))
		for i, c := range b.Contacts {
			names[i] = s.shortName(c.ID)
		}
		line := fmt.Sprintf("  %-17s %3d: %s", share, len(names), strings.Join(names, " "))
		if b.Silent > 0 {
			line += fmt.Sprintf(" (%d silent)", b.Silent)
		}
		if b.Replacements > 0 {
			line += fmt.Sprintf(" (%d more wait for a place)", b.Replacements)
		}
		s.app.print("%s", line)
	}
	return nil
}

// shortName is a node's number, or the ID of a peer that is not of the fleet.
func (s *shell) shortName(id wire.PeerID) string {
	if number, ok := s.fleet.number(id); ok {
		return strconv.Itoa(number)
	}
	return id.String()
}

func (s *shell) nodes(context.Context, []string) error {
	for i := range s.fleet.size() {
		m, err := s.fleet.member(i)
		if err != nil {
			s.app.print("%4d  dead", i)
			s.app.object(struct {
				Command string `json:"command"`
				Node    int    `json:"node"`
				Dead    bool   `json:"dead"`
			}{"nodes", i, true})
			continue
		}
		stats := m.Stats()
		addrs := addrStrings(m.Addrs())
		s.app.print("%4d  %s, %s", i, plural(stats.Peers, "peer"), strings.Join(addrs, " "))
		s.app.object(struct {
			Command string      `json:"command"`
			Node    int         `json:"node"`
			ID      wire.PeerID `json:"id"`
			Addrs   []string    `json:"addrs"`
			Peers   int         `json:"peers"`
			Records int         `json:"records"`
		}{"nodes", i, m.ID(), addrs, stats.Peers, stats.Records})
	}
	return nil
}

func (s *shell) help(context.Context, []string) error {
	s.app.print("%s", strings.TrimSuffix(commandsHelp, "\n"))
	return nil
}
