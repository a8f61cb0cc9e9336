package node

import "github.com/kadquic/kadquic/wire"

// Mapping is the address and port mapping behavior of a NAT in front of the node, RFC
// 4787 §4.1.
type Mapping uint8

const (
	// MappingUnknown: too few peers with different IPs have reported the node's observed
	// address, or their reports contradict each other.
	MappingUnknown = Mapping(wire.MappingUnknown)
	// MappingNone: peers observe the node's own address. There may be a firewall.
	MappingNone = Mapping(wire.MappingNone)
	// MappingIndependent: one external address and port for all destinations.
	MappingIndependent = Mapping(wire.MappingIndependent)
	// MappingSequential: another external port for each destination, the next one or
	// one close to it.
	MappingSequential = Mapping(wire.MappingSequential)
	// MappingRandom: another external port for each destination, at random.
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
