package peerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// The form of a snapshot, all numbers unsigned varints, times in Unix seconds,
// zero for never:
//
//	"kadquic peers 1\n"
//	for each peer, the dearest first:
//	    ID[32]  seen  mode  len agent[len]  smoothed RTT µs  deviation µs
//	    len record[len]    (wire.AppendSigned; empty if none)
//	    number of addresses, for each:
//	        source[1]  expiry  success  len addr[len]
//	CRC-32C of all before, 4 bytes big-endian
const snapshotMagic = "kadquic peers 1\n"

// maxPeerSize bounds the bytes of one peer in a snapshot: 8 addresses of 160 and
// a record of 3 KiB fit.
const maxPeerSize = 8 << 10

// minLease is how long a verified address lives at least after Load. A node that
// was off for days must not start without any peer: old addresses are better than
// none, and those that fail make room at once.
const minLease = time.Hour

// ErrSnapshot is wrapped by the error of [Store.Load] for input that is not a
// snapshot, or is a damaged one.
var ErrSnapshot = errors.New("peerstore: not a snapshot, or a damaged one")

// checksum is the CRC-32C of the parts one after another.
func checksum(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot writes to w what is worth knowing after a restart: the peers that
// proved their key to us or have a signed record, with the addresses they proved
// it at or signed. Hearsay and failures are left out: the network
// may be another after Load. It is written with one call of w.Write.
func (s *Store) Snapshot(w io.Writer, now time.Time) error {
	b := []byte(snapshotMagic)
	t := s.tick(now)
	for _, id := range s.ids() {
		b = s.appendPeer(b, id, t, now.UnixNano()-t)
	}
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write snapshot of peers: %w", err)
	}
	return nil
}

// appendPeer appends one of them, unless it is not worth it. ahead is by how much the
// wall clock is ahead of t.
func (s *Store) appendPeer(b []byte, id wire.PeerID, t, ahead int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return b
	}
	var keep [maxAddrs]uint8
	n := 0
	for i := range p.addrs {
		if a := &p.addrs[i]; a.expiry > t && (a.success != 0 || a.source == SourceRecord) {
			keep[n] = uint8(i)
			n++
		}
	}
	var record []byte
	if p.record != nil && p.record.Record.Expiry.UnixNano() > t {
		record = wire.AppendSigned(nil, p.record)
	}
	if n == 0 && record == nil {
		return b
	}
	b = append(b, p.id[:]...)
	b = appendSeconds(b, shift(p.seen, ahead))
	b = binary.AppendUvarint(b, uint64(p.mode))
	b = appendBytes(b, p.agent)
	b = binary.AppendUvarint(b, uint64(p.rtt.Smoothed().Microseconds()))
	b = binary.AppendUvarint(b, uint64(p.rtt.Deviation().Microseconds()))
	b = appendBytes(b, string(record))
	b = binary.AppendUvarint(b, uint64(n))
	for _, i := range keep[:n] {
		a := &p.addrs[i]
		b = append(b, byte(a.source))
		b = appendSeconds(b, min(a.expiry, t+int64(s.opts.TTL))+ahead)
		b = appendSeconds(b, shift(a.success, ahead))
		b = appendBytes(b, string(a.addr))
	}
	return b
}

func appendBytes(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// shift adds d to a time, unless that is 0, never.
func shift(t, d int64) int64 {
	if t == 0 {
		return 0
	}
	return max(t+d, 1)
}

func appendSeconds(b []byte, t int64) []byte {
	return binary.AppendUvarint(b, uint64(max(t, 0)/int64(time.Second)))
}

// Load adds the entries of a snapshot to the store; existing entries stay.
// The checksum and the form are verified before anything is added: an error, which
// wraps ErrSnapshot unless reading failed, means that nothing was. Records that
// have expired or do not verify are left out. Verified addresses live on for an
// hour at least, all for Options.TTL at most. When it holds more peers than there
// is room for, the dearest are taken.
func (s *Store) Load(r io.Reader, now time.Time) error {
	var magic [len(snapshotMagic)]byte
	if _, err := io.ReadFull(r, magic[:]); err == io.EOF || err == io.ErrUnexpectedEOF || err == nil && string(magic[:]) != snapshotMagic {
		return fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotMagic)
	} else if err != nil {
		return fmt.Errorf("read snapshot of peers: %w", err)
	}
	limit := s.opts.MaxPeers * maxPeerSize
	body, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return fmt.Errorf("read snapshot of peers: %w", err)
	}
	if len(body) > limit {
		return fmt.Errorf("%w: more than %d bytes", ErrSnapshot, limit)
	}
	end := len(body) - crc32.Size
	if end < 0 || checksum(magic[:], body[:end]) != binary.BigEndian.Uint32(body[end:]) {
		return fmt.Errorf("%w: wrong checksum", ErrSnapshot)
	}
	d := decoder{b: body[:end]}
	var peers []*peer
	for len(d.b) > 0 {
		peers = append(peers, d.peer(now, s.opts))
		if d.bad {
			return fmt.Errorf("%w: peer %d is malformed", ErrSnapshot, len(peers)-1)
		}
	}
	t := s.tick(now)
	behind := t - now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	// The last first, so that the dearest end up as the latest.
	for _, p := range slices.Backward(peers[:min(len(peers), s.opts.MaxPeers)]) {
		p.seen = shift(p.seen, behind)
		for i := range p.addrs {
			p.addrs[i].expiry += behind
			p.addrs[i].success = shift(p.addrs[i].success, behind)
		}
		s.adopt(p, t)
	}
	return nil
}

// adopt adds a peer read from a snapshot. The caller holds s.mu.
func (s *Store) adopt(old *peer, t int64) {
	if !old.id.IsValid() {
		return // written by a version that took such keys for peers
	}
	old.addrs = slices.DeleteFunc(old.addrs, func(a address) bool { return a.expiry <= t })
	if len(old.addrs) == 0 && old.record == nil {
		return
	}
	c := classTold
	if old.seen != 0 {
		c = classMet
	}
	p := s.peers[old.id]
	if p == nil {
		if p = s.insert(old.id, c); p == nil {
			return
		}
		p.mode, p.agent, p.rtt = old.mode, old.agent, old.rtt
	}
	for _, a := range old.addrs {
		if p.find(a.addr) >= 0 || len(p.addrs) >= s.opts.MaxAddrs {
			continue
		}
		p.addrs = append(p.addrs, a)
		if a.success != 0 {
			p.rank(len(p.addrs) - 1)
		}
	}
	if old.record != nil && (p.record == nil || wire.Newer(old.record, p.record)) {
		p.record = old.record
	}
	p.seen = max(p.seen, old.seen)
}

// rank moves a verified address that has not failed, at i, to its place among the
// others of that sort, by latest success.
func (p *peer) rank(i int) {
	if i >= p.verified {
		p.verified++
	}
	to := 0
	for to < i && p.addrs[to].failures == 0 && p.addrs[to].success > p.addrs[i].success {
		to++
	}
	p.move(i, to)
}

// A decoder takes a snapshot apart. After the first thing malformed, bad is set
// and all it returns is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) peer(now time.Time, o Options) *peer {
	p := &peer{}
	copy(p.id[:], d.take(len(p.id)))
	d.bad = d.bad || p.id.IsZero()
	p.seen = min(d.seconds(), now.UnixNano())
	mode := d.uint(255)
	p.mode = wire.Mode(mode)
	p.agent = string(d.take(int(d.uint(wire.MaxAgent))))
	const maxRTT = uint64(time.Hour / time.Microsecond)
	smoothed, deviation := d.uint(maxRTT), d.uint(maxRTT)
	p.rtt = routing.NewRTT(time.Duration(smoothed)*time.Microsecond, time.Duration(deviation)*time.Microsecond)
	if record := d.take(int(d.uint(maxPeerSize))); len(record) > 0 {
		r, err := wire.ParseSigned(bytes.Clone(record))
		if err != nil || r.Record.Kind != wire.KindPeer || r.Record.Publisher != p.id {
			d.bad = true
		} else if r.Verify(now) == nil {
			p.record = r
		}
	}
	n := int(d.uint(maxAddrs))
	for range n {
		a := d.address(now, o)
		if d.bad || p.find(a.addr) >= 0 {
			d.bad = true
			break
		}
		if len(p.addrs) < o.MaxAddrs {
			p.addrs = append(p.addrs, a)
		}
	}
	return p
}

func (d *decoder) address(now time.Time, o Options) address {
	t := now.UnixNano()
	a := address{source: Source(d.uint(uint64(SourceUser))), expiry: d.seconds(), success: min(d.seconds(), t)}
	addr, err := wire.ParseAddr(d.take(int(d.uint(wire.MaxAddrLen))))
	if err != nil || a.source == 0 {
		d.bad = true
		return address{}
	}
	a.addr = addr
	if a.success != 0 {
		// That the user once named it is for the user to say again.
		a.source = min(a.source, SourceDialled)
		a.expiry = max(a.expiry, t+int64(minLease))
	} else {
		a.source = min(a.source, SourceRecord)
	}
	a.expiry = min(a.expiry, t+int64(o.TTL))
	return a
}

// take returns the next n bytes.
func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// uint returns the next number, which must not exceed limit.
func (d *decoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || v > limit {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// seconds returns the next time, as Unix nanoseconds.
func (d *decoder) seconds() int64 {
	return int64(d.uint(1<<33)) * int64(time.Second)
}
