package node

import "github.com/kadquic/kadquic/wire"

// Mapping is the address and port mapping behavior of a NAT in front of the node, RFC
// 4787 §4.1.
type Mapping = wire.Mapping

const (
	// MappingUnknown: too few peers with different IPs have reported the node's observed
	// address, or their reports contradict each other.
	MappingUnknown = wire.MappingUnknown
	// MappingNone: peers observe the node's own address. There may be a firewall.
	MappingNone = wire.MappingNone
	// MappingIndependent: one external address and port for all destinations.
	MappingIndependent = wire.MappingIndependent
	// MappingSequential: another external port for each destination, the next one or
	// one close to it.
	MappingSequential = wire.MappingSequential
	// MappingRandom: another external port for each destination, at random.
	MappingRandom = wire.MappingRandom
)
