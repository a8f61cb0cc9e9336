package node

import "github.com/kadquic/kadquic/wire"

// Mapping says what a NAT in front of the node does to the addresses that others
// see, RFC 4787 §4.1.
type Mapping uint8

const (
	// MappingUnknown: too few peers with different IPs have said where they see us,
	// or they contradict one another.
	MappingUnknown = Mapping(wire.MappingUnknown)
	// MappingNone: others see the node's own address. A firewall may be there.
	MappingNone = Mapping(wire.MappingNone)
	// MappingIndependent: one outside address whoever is on the other side.
	MappingIndependent = Mapping(wire.MappingIndependent)
	// MappingSequential: another outside port for each destination, the next or
	// nearly so.
	MappingSequential = Mapping(wire.MappingSequential)
	// MappingRandom: another outside port for each destination, at random.
	MappingRandom = Mapping(wire.MappingRandom)
)

func (m Mapping) String() string {
	switch m {
	case MappingNone:
		return "none"
	case MappingIndependent:
		return "endpoint-independent"
	case MappingSequential:
		return "endpoint-dependent, sequential"
	case MappingRandom:
		return "endpoint-dependent, random"
	}
	return "unknown"
}
