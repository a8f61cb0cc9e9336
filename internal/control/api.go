package control

import (
	"context"
	"io"
	"iter"
	"net/netip"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// An API is a node as commands see it. errors.Is finds the sentinels of package node in
// its errors, also if the node is in another process. A stream ends with its first
// error. An API is safe for concurrent use.
type API interface {
	// Status tells what the node is and does.
	Status(context.Context) (Status, error)
	// Netcheck tells how others reach the node.
	Netcheck(context.Context) (Netcheck, error)

	// Put stores a record.
	Put(context.Context, Put) (Stored, error)
	// Get finds the best record of a key. A value may stand beside an error: it was
	// found, but there may be a better one.
	Get(context.Context, Get) (Value, error)
	// Values yields every record of a key as it is found, one of each publisher,
	// a newer one again.
	Values(context.Context, Get) iter.Seq2[Value, error]

	// Provide tells the network that this node provides what a key stands for, and
	// goes on telling it; or, with Stop, ends that.
	Provide(context.Context, Provide) (Stored, error)
	// Providers yields the peers that provide what a key stands for, each once.
	Providers(context.Context, Key) iter.Seq2[Provider, error]

	// Published yields the records that the node keeps alive.
	Published(context.Context) iter.Seq2[Publication, error]
	// Unpublish ends that for one of them, and withdraws it.
	Unpublish(context.Context, Subject) (Stored, error)

	// Records yields what the node holds, nearest to its own key first.
	Records(context.Context) iter.Seq2[Record, error]
	// Durability tells which of the nodes nearest to a record's key hold it now.
	// What is known stands beside an error, if there is one.
	Durability(context.Context, Subject) (Durability, error)

	// Backup writes a consistent copy of the node's database, which goes on
	// changing meanwhile.
	Backup(context.Context, io.Writer) error
	// Restore takes in what such a copy holds; nothing newer is overwritten.
	Restore(context.Context, io.Reader) (Merged, error)

	// Lookup yields the requests of a lookup as they end, if Trace asks for
	// them, and last what it found.
	Lookup(context.Context, Lookup) iter.Seq2[Step, error]
	// Ping finds a peer and asks it whether it is there.
	Ping(context.Context, Peer) (Pong, error)
}

// A Status is a snapshot of a node.
type Status struct {
	ID      wire.PeerID `json:"id"`
	Key     routing.Key `json:"key"`
	Network string      `json:"network"`
	Mode    string      `json:"mode"` // "server" or "client"
	Addrs   []string    `json:"addrs"`
	Data    string      `json:"data,omitempty"` // the profile's directory
	PID     int         `json:"pid"`
	Started time.Time   `json:"started"`

	Peers         int      `json:"peers"` // in the routing table
	Known         int      `json:"known"`
	Connections   int      `json:"connections"`
	Records       int      `json:"records"`   // held for others, and our own
	Published     int      `json:"published"` // kept alive
	Unsettled     int      `json:"unsettled"` // of these: not stored yet since the node was started, or not renewed when it was tried last
	RecordBytes   int64    `json:"record_bytes"`
	Damaged       int      `json:"damaged"`             // records and states lost to damage on disk
	Losses        []string `json:"losses,omitempty"`    // the first of them, in words
	ReadOnly      string   `json:"read_only,omitempty"` // why the disk cannot be written; empty: it can
	Republished   int64    `json:"republished"`         // records sent to their other holders again
	HandedOver    int64    `json:"handed_over"`         // records sent to newcomers
	Lookups       int64    `json:"lookups"`
	Sent          int64    `json:"requests_sent"`
	Served        int64    `json:"requests_served"`
	BytesSent     uint64   `json:"bytes_sent"` // over the connections open now
	BytesReceived uint64   `json:"bytes_received"`

	PortMappings []PortMapping `json:"port_mappings,omitempty"` // of sockets that the router is asked about

	Relays   []Relay  `json:"relays,omitempty"` // by which others reach the node
	Relaying Relaying `json:"relaying"`
}

// A Relay is a peer by which others reach the node.
type Relay struct {
	ID      wire.PeerID `json:"id"`
	Addr    string      `json:"addr"`
	RTT     Duration    `json:"rtt_ms"`
	Since   time.Time   `json:"since"`
	Expires time.Time   `json:"expires"` // unless renewed
}

// Relaying describes the node's work as a relay.
type Relaying struct {
	Reservations int   `json:"reservations"` // held by others, now
	Pairs        int   `json:"pairs"`        // of peers whose packets are passed on, now
	Calls        int64 `json:"calls"`        // passed on
	Packets      int64 `json:"packets"`
	Bytes        int64 `json:"bytes"`
	Refused      int64 `json:"refused"` // reservations and calls, for a limit
	Dropped      int64 `json:"dropped"` // packets
}

// A PortMapping is the state of the router's port mapping for one socket.
type PortMapping struct {
	Port     uint16         `json:"port"`
	Local    netip.Addr     `json:"local,omitzero"`   // of the machine, as the router sees it
	Gateway  netip.Addr     `json:"gateway,omitzero"` // the router
	Speaks   []string       `json:"speaks,omitempty"` // PCP, NAT-PMP, UPnP
	Outside  netip.AddrPort `json:"outside,omitzero"` // where it lets others in, as it says
	Protocol string         `json:"protocol,omitempty"`
	Expires  time.Time      `json:"expires,omitzero"` // unless renewed; zero: never
	Why      string         `json:"why,omitempty"`    // there is none, or it is of no use
}

// A Put says what to store. The publisher is the profile's identity.
type Put struct {
	Kind  Kind        `json:"kind"`
	Key   routing.Key `json:"key,omitzero"`   // if zero, derived from the kind or the name
	Name  []byte      `json:"name,omitempty"` // of an owned record, or of an open one in a namespace
	Value []byte      `json:"value"`

	// TTL is how long the record lives. If zero, 24 hours, and the node keeps it
	// alive for as long as it runs itself.
	TTL    Duration `json:"ttl_ms,omitempty"`
	Quorum int      `json:"quorum,omitempty"`
	// Label is the user's name for the key. A node that keeps the record alive remembers
	// it for Published, up to node.MaxLabel bytes. It is never sent to other nodes.
	Label string `json:"label,omitempty"`
	// IfSeq, of an owned record: only if the newest version has this sequence
	// number, 0 meaning that there is none.
	IfSeq *uint64 `json:"if_seq,omitempty"`
}

// Stored says where a record went.
type Stored struct {
	Key   routing.Key `json:"key"`
	Count int         `json:"stored"`
	Of    int         `json:"of"`
}

// A Get says which record to find.
type Get struct {
	Kind   Kind        `json:"kind"`
	Key    routing.Key `json:"key"`
	Name   []byte      `json:"name,omitempty"`   // if given: only records of that name
	Quorum int         `json:"quorum,omitempty"` // zero: the kind's
}

// A Value is a record that was found and verified.
type Value struct {
	Kind      Kind        `json:"kind"`
	Key       routing.Key `json:"key"`
	Name      []byte      `json:"name,omitempty"`
	NameText  string      `json:"name_text,omitempty"` // Name, if it is UTF-8
	Data      []byte      `json:"value"`
	Text      string      `json:"text,omitempty"` // Data, if it is UTF-8
	Publisher wire.PeerID `json:"publisher"`
	Seq       uint64      `json:"seq"`
	Expiry    time.Time   `json:"expiry"`
	From      wire.PeerID `json:"from"` // a holder

	// Answers is how many nodes had answered with a record under the key when Get chose
	// this one. Values leaves it zero.
	Answers int `json:"answers,omitempty"`
}

// A Key names a key.
type Key struct {
	Key routing.Key `json:"key"`
}

// A Provide says what to provide, or no longer.
type Provide struct {
	Key   routing.Key `json:"key"`
	Label string      `json:"label,omitempty"` // see Put
	Stop  bool        `json:"stop,omitempty"`
}

// A Provider is a peer that says it provides what a key stands for.
type Provider struct {
	ID     wire.PeerID `json:"id"`
	Mode   string      `json:"mode,omitempty"` // "server" or "client"; empty: it did not say
	Addrs  []string    `json:"addrs"`
	Expiry time.Time   `json:"expiry"` // of its word, unless it gives it again
	From   wire.PeerID `json:"from"`   // a holder
}

// A Subject names a record.
type Subject struct {
	Kind Kind        `json:"kind"`
	Key  routing.Key `json:"key"`
}

// A Publication is a record that the node keeps alive.
type Publication struct {
	Kind     Kind        `json:"kind"`
	Key      routing.Key `json:"key"`
	Name     []byte      `json:"name,omitempty"`
	NameText string      `json:"name_text,omitempty"` // Name, if it is UTF-8
	Label    string      `json:"label,omitempty"`     // what the user called the key when it was put or provided
	Size     int         `json:"bytes"`               // of the value
	Seq      uint64      `json:"seq"`
	Expiry   time.Time   `json:"expiry"`
	Renewed  time.Time   `json:"renewed,omitzero"` // when it was stored last; zero: not since the node was started
	Next     time.Time   `json:"next"`             // when it is due to be published again
	Stored   int         `json:"stored"`           // where it went last
	Of       int         `json:"of"`
	Error    string      `json:"error,omitempty"` // why it could not be renewed
}

// A Record is one that the node holds.
type Record struct {
	Kind       Kind        `json:"kind"`
	Key        routing.Key `json:"key"`
	CommonBits int         `json:"common_bits"` // of its key and the node's
	Publisher  wire.PeerID `json:"publisher"`
	Seq        uint64      `json:"seq"`
	Expiry     time.Time   `json:"expiry"` // as signed
	Size       int         `json:"bytes"`  // with its signature
	Received   time.Time   `json:"received"`
	Until      time.Time   `json:"until"`            // it is dropped then
	Cached     bool        `json:"cached,omitempty"` // a copy beyond the k nearest
}

// Durability lists the holders of a record.
type Durability struct {
	Kind    Kind        `json:"kind"`
	Key     routing.Key `json:"key"`
	Held    int         `json:"held"` // by so many, none of them behind
	Of      int         `json:"of"`
	Holders []Holder    `json:"holders"` // nearest first
}

// A Holder is one of the nodes that are to hold a record.
type Holder struct {
	ID       wire.PeerID `json:"id"`
	Addrs    []string    `json:"addrs"`
	Versions []Version   `json:"versions"` // of each publisher; none: it does not hold it
	Behind   bool        `json:"behind,omitempty"`
	RTT      Duration    `json:"rtt_ms"`          // 0: the node that was asked
	Error    string      `json:"error,omitempty"` // why it has none, if it did not say
}

// A Version is one publisher's record as a holder has it.
type Version struct {
	Publisher wire.PeerID `json:"publisher"`
	Seq       uint64      `json:"seq"`
	Expiry    time.Time   `json:"expiry"`
}

// Merged says what a restore brought.
type Merged struct {
	Records      int `json:"records"`      // now held that were not
	Publications int `json:"publications"` // kept alive
	Peers        int `json:"peers"`        // now known that were not
	Refused      int `json:"refused"`      // records and publications that are damaged, not the node's, older, have ended or find no room
	Retracted    int `json:"retracted"`    // publications of the node that ended: unpublished when the backup was made
}

// A Lookup says which key's nearest nodes to find.
type Lookup struct {
	Key   routing.Key `json:"key"`
	Trace bool        `json:"trace,omitempty"` // yield each request
}

// A Step of a lookup is one request that ended, or all that was found.
type Step struct {
	Hop   *Hop   `json:"hop,omitempty"`
	Found *Found `json:"found,omitempty"`
}

// Found is the end of a lookup.
type Found struct {
	Nearest  []Contact `json:"nearest"` // nearest first
	Requests int       `json:"requests"`
}

// A Contact is a peer near a key.
type Contact struct {
	ID         wire.PeerID `json:"id"`
	Key        routing.Key `json:"key"`
	CommonBits int         `json:"common_bits"` // of its key and the one asked for
	Addrs      []string    `json:"addrs"`
}

// A Peer names a peer.
type Peer struct {
	ID wire.PeerID `json:"id"`
}

// A Pong is the answer to a ping.
type Pong struct {
	RTT  Duration `json:"rtt_ms"`
	Path Path     `json:"path"`
	// Connected is how long the user waited for the connection: until the peer was
	// found, connected and ready for requests. Later pings of a peer that was called
	// through a relay repeat that duration; later pings of other peers have none. Direct
	// is the duration of a call until it needed no relay.
	Connected Duration `json:"connected_ms,omitempty"`
	Direct    Duration `json:"direct_ms,omitempty"`
}

// A Path is how packets go to a peer.
type Path struct {
	Kind  string       `json:"kind"`            // "direct", "punched" or "relayed"
	Addr  string       `json:"addr,omitempty"`  // of the peer, IP and port
	Relay *wire.PeerID `json:"relay,omitempty"` // who relays
	Quiet bool         `json:"quiet,omitempty"` // nothing came that way for a moment
}

// String says of a path what node.Path says.
func (p Path) String() string {
	s := p.Kind
	switch {
	case p.Addr != "":
		s += " " + p.Addr
	case p.Relay != nil:
		s += " by " + p.Relay.String()
	}
	if p.Quiet {
		s += " (quiet)"
	}
	return s
}
