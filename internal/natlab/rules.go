package natlab

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"text/template"
)

//go:embed rules.nft
var rulesText string

var rulesTemplate = template.Must(template.New("rules.nft").Parse(rulesText))

// rulesOf is what makes a router with this outside address a NAT, in the language of
// nft(8).
func rulesOf(outside netip.Addr, kind Kind, o Options) (string, error) {
	b := behaviours[kind]
	if o.Ports != (Ports{}) {
		b.ports = o.Ports
	}
	snat := "snat to " + outside.String()
	switch {
	case b.mapping == noMapping:
		snat = ""
	case b.mapping == sequential:
		var ports strings.Builder
		for i := range 4096 {
			fmt.Fprintf(&ports, "%d:%d,", i, 30000+i)
		}
		snat += fmt.Sprintf(":numgen inc mod 4096 map { %s }", &ports)
	case b.ports != Ports{}:
		snat += fmt.Sprintf(":%d-%d", b.ports.First, b.ports.Last)
	}
	if b.mapping == random {
		snat += " fully-random"
	}
	var text strings.Builder
	err := rulesTemplate.Execute(&text, map[string]any{
		"outside": outside,
		"snat":    snat,
		"eif":     b.filtering == anyone,
		"adf":     b.filtering == addressOnly,
		"open":    b.open,
		"noUDP":   b.noUDP,
		"hairpin": o.Hairpin,
		"igd":     o.IGD,
		"timeout": o.timeout().Milliseconds(),
	})
	return text.String(), err
}
