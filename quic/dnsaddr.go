package quic

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
)

// Bounds of one /dnsaddr address. Its records may name further /dnsaddr addresses,
// and the owner of the name writes them.
const (
	maxDNSAddrDepth   = 4  // names in a chain
	maxDNSAddrLookups = 8  // queries for TXT records
	maxDNSAddrFound   = 16 // socket addresses
)

// A dnsaddrWalk follows the TXT records of one /dnsaddr address.
type dnsaddrWalk struct {
	resolver resolver
	peer     string // text of the /p2p component of the address, or empty
	lookups  int
	found    []netip.AddrPort
	err      error // the first
}

// resolveDNSAddr finds the addresses for /dnsaddr/N[/p2p/ID]: it reads
// the TXT records of _dnsaddr.N, each "dnsaddr=" and a full address. Records that
// end in another peer's ID are left out, and so are those that this package cannot
// dial: other programs publish TCP addresses there. (multiformats/multiaddr,
// protocols/DNSADDR.md)
func resolveDNSAddr(ctx context.Context, m ma.Multiaddr, r resolver) ([]netip.AddrPort, error) {
	w := dnsaddrWalk{resolver: r, peer: peerOf(m)}
	w.follow(ctx, m[0].Value(), 1)
	switch {
	case len(w.found) > 0:
		return w.found, nil
	case w.err != nil:
		return nil, fmt.Errorf("address %q: %w", m, w.err)
	}
	return nil, fmt.Errorf("address %q: the TXT records of %q name no usable address", m, "_dnsaddr."+m[0].Value())
}

// isDNSAddr reports whether m is /dnsaddr/N or /dnsaddr/N/p2p/ID.
func isDNSAddr(m ma.Multiaddr) bool {
	return len(m) > 0 && m[0].Protocol().Code == ma.P_DNSADDR && (len(m) == 1 || len(m) == 2 && peerOf(m) != "")
}

// peerOf returns the ID at the end of m, or "".
func peerOf(m ma.Multiaddr) string {
	if n := len(m); n > 0 && m[n-1].Protocol().Code == ma.P_P2P {
		return m[n-1].Value()
	}
	return ""
}

func (w *dnsaddrWalk) follow(ctx context.Context, name string, depth int) {
	if depth > maxDNSAddrDepth || w.lookups == maxDNSAddrLookups {
		w.fail(fmt.Errorf("more than %d names in a chain, or %d in all", maxDNSAddrDepth, maxDNSAddrLookups))
		return
	}
	w.lookups++
	records, err := w.resolver.LookupTXT(ctx, "_dnsaddr."+name)
	if err != nil {
		w.fail(err)
		return
	}
	for _, record := range records {
		text, ok := strings.CutPrefix(record, "dnsaddr=")
		if !ok {
			continue
		}
		m, err := ma.NewMultiaddr(text)
		if err != nil {
			w.fail(fmt.Errorf("TXT record %q: %w", record, err))
			continue
		}
		if id := peerOf(m); w.peer != "" && id != "" && id != w.peer {
			continue
		}
		if isDNSAddr(m) {
			w.follow(ctx, m[0].Value(), depth+1)
			continue
		}
		addrs, err := resolve(ctx, m, w.resolver)
		if err != nil {
			w.fail(err)
			continue
		}
		for _, a := range addrs {
			if len(w.found) < maxDNSAddrFound && !slices.Contains(w.found, a) {
				w.found = append(w.found, a)
			}
		}
	}
}

func (w *dnsaddrWalk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
