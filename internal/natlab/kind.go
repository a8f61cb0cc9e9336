package natlab

// A Kind is a kind of NAT or of another box between a host and the internet.
type Kind int

// The kinds. The package's documentation says what each does.
const (
	Public Kind = iota // nothing: the host has a public address
	FullCone
	AddressRestricted
	PortRestricted
	Linux
	LinuxOpen
	Symmetric
	SymmetricSequential
	Carrier
	UDPBlocked
	IPv6Firewall
)

// Kinds are all of them.
var Kinds = []Kind{
	Public, FullCone, AddressRestricted, PortRestricted, Linux, LinuxOpen,
	Symmetric, SymmetricSequential, Carrier, UDPBlocked, IPv6Firewall,
}

func (k Kind) String() string { return behaviours[k].name }

// A mapping is how a NAT chooses the external address and port of a flow, RFC 4787 §4.1.
type mapping int

const (
	endpointIndependent mapping = iota // one for each inside address and port
	random                             // one for each flow, its port at random
	sequential                         // one for each flow, its port the next
	noMapping                          // the inside one
)

// A filtering is whose packets a NAT lets in, RFC 4787 §5.
type filtering int

const (
	addressAndPort filtering = iota // of addresses and ports that the inside has sent to
	addressOnly                     // of addresses that the inside has sent to
	anyone
)

// A behaviour describes a kind of NAT.
type behaviour struct {
	name      string
	mapping   mapping
	filtering filtering
	ports     Ports
	open      bool // accepts unsolicited packets to itself
	noUDP     bool
}

// The default ports lie outside those that programs use (from 32768 to 60999 when they
// do not choose), or Linux would keep the inside one.
var highPorts = Ports{61001, 65000}

var behaviours = [...]behaviour{
	Public:              {name: "public", mapping: noMapping},
	FullCone:            {name: "full-cone", filtering: anyone, ports: highPorts},
	AddressRestricted:   {name: "addr-restricted", filtering: addressOnly, ports: highPorts},
	PortRestricted:      {name: "port-restricted", ports: highPorts},
	Linux:               {name: "linux"},
	LinuxOpen:           {name: "linux-open", open: true},
	Symmetric:           {name: "symmetric", mapping: random, ports: Ports{1024, 65535}},
	SymmetricSequential: {name: "symmetric-seq", mapping: sequential},
	Carrier:             {name: "carrier"}, // of the home's router; the carrier's is PortRestricted
	UDPBlocked:          {name: "udp-blocked", noUDP: true},
	IPv6Firewall:        {name: "ipv6-firewall", mapping: noMapping},
}
