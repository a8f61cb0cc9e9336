// Natlab builds a laboratory of NATs, prints how to run commands on its hosts, and keeps it until
// it is interrupted.
//
//	natlab [-delay D] [-loss P] NAME=KIND[,OPTION...]...
//
// The kinds are those of package natlab, and public. Each host that is not public gets a separate
// NAT. The options are ipv6, igd and hairpin.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kadquic/kadquic/internal/natlab"
)

func main() {
	var c natlab.Config
	flag.DurationVar(&c.Link.Delay, "delay", 0, "`delay` of every link, one way; four of them make a round trip")
	flag.Float64Var(&c.Link.Loss, "loss", 0, "`chance` that a link loses a packet, from 0 to 1")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: natlab [flags] NAME=KIND[,ipv6][,igd][,hairpin]...\nkinds: %v\n", natlab.Kinds)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	t := new(program)
	lab := natlab.New(t, c)
	for _, arg := range flag.Args() {
		add(t, lab, arg)
	}
	fmt.Fprint(os.Stdout, lab)
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	<-interrupt
	t.end()
}

// add adds the host that an argument describes.
func add(t *program, lab *natlab.Lab, arg string) {
	name, text, _ := strings.Cut(arg, "=")
	words := strings.Split(text, ",")
	var o natlab.Options
	for _, w := range words[1:] {
		switch w {
		case "ipv6":
			o.IPv6 = true
		case "igd":
			o.IGD = true
		case "hairpin":
			o.Hairpin = true
		default:
			t.Fatalf("%s: no option %q", arg, w)
		}
	}
	for _, k := range natlab.Kinds {
		if k.String() == words[0] {
			lab.Home(name, k, o)
			return
		}
	}
	t.Fatalf("%s: no kind %q; there are %v", arg, words[0], natlab.Kinds)
}

// A program is what natlab wants of a test.
type program struct{ cleanups []func() }

func (*program) Helper()            {}
func (p *program) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }

func (p *program) end() {
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		p.cleanups[i]()
	}
}

func (p *program) Skipf(format string, args ...any) { p.Fatalf(format, args...) }

func (p *program) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	p.end()
	os.Exit(1)
}
