package punch

import (
	"net/netip"
	"time"
)

// SearchFromSockets begins a search on the side with random ports: many sockets send to the
// one address of the peer.
func (l *Checklist) SearchFromSockets(now time.Time, target netip.AddrPort, open SocketOpener) {
	if IsUsable(target) {
		l.search = portSearch{next: later(now, l.begin), target: target, open: open, opens: TotalSockets}
		l.extendForSearch(now)
	}
}

// SearchPorts begins a search on the other side: it sends to random ports of the peer's NAT.
func (l *Checklist) SearchPorts(now time.Time, ip netip.Addr) {
	if IsUsable(netip.AddrPortFrom(ip, firstPort)) {
		l.search = portSearch{next: now, ip: ip.Unmap(), left: maxSearchProbes, tried: make(map[uint16]struct{})}
		l.extendForSearch(now)
	}
}

// EndSearch ends the search of either side.
func (l *Checklist) EndSearch() { l.search = portSearch{} }

// extendForSearch extends the checklist by the time of a search.
func (l *Checklist) extendForSearch(now time.Time) {
	const all = maxSearchProbes / probesPerPace * searchPace
	l.searchEnd = now.Add(all + time.Second)
	l.end = later(l.end, l.searchEnd)
}

func (l *Checklist) stepSearch(now time.Time, send Sender) time.Time {
	b := &l.search
	if b.next.IsZero() || l.keys == nil || l.selected != nil {
		return time.Time{}
	}
	if now.Before(b.next) {
		return b.next
	}
	b.next = now.Add(searchPace)
	if b.target.IsValid() {
		l.openSockets(now, send)
		return b.next
	}
	for range probesPerPace {
		e := Endpoint{l.via, netip.AddrPortFrom(b.ip, l.randomPort())}
		if b.left == 0 {
			b.next = time.Time{}
			break
		}
		if l.credit < (1+spareProbes)*packetCost(e.Addr, Size) {
			break
		}
		l.sendPing(now, e, send)
		b.left--
	}
	return b.next
}

// openSockets opens sockets and sends a probe from each.
func (l *Checklist) openSockets(now time.Time, send Sender) {
	b := &l.search
	for range socketsPerPace {
		if b.opens == 0 {
			b.next = time.Time{}
			return
		}
		if l.credit < (1+spareProbes)*packetCost(b.target, Size) {
			return
		}
		via, ok := b.open()
		if !ok {
			return
		}
		l.sendPing(now, Endpoint{via, b.target}, send)
		b.opens--
	}
}

func (l *Checklist) randomPort() uint16 {
	for range 64 {
		p := uint16(firstPort + l.rand()%(65536-firstPort))
		if _, ok := l.search.tried[p]; !ok {
			l.search.tried[p] = struct{}{}
			return p
		}
	}
	return uint16(firstPort + l.rand()%(65536-firstPort))
}
