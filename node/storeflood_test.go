package node

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
	"github.com/kadquic/kadquic/routing"
	"github.com/kadquic/kadquic/wire"
)

// A STORE flood from 17 networks, of records next to the victim's own key, neither displaces a
// record that the victim has acknowledged nor keeps it from accepting records of honest peers.
func TestStoreFloodDisplacesNothing(t *testing.T) {
	attackers := map[string]func(i int) string{
		"17 /24s":               func(i int) string { return fmt.Sprintf("41.%d.1.1", i) },
		"17 /24s of one /16":    func(i int) string { return fmt.Sprintf("41.1.%d.1", i) },
		"17 /64s of one /56":    func(i int) string { return fmt.Sprintf("2a00:1:1:%x::1", i) },
		"17 /48s of one /32":    func(i int) string { return fmt.Sprintf("2a00:1:%x::1", i) },
		"17 6to4 of one /24":    func(i int) string { return fmt.Sprintf("2002:2901:01%02x::1", i) },
		"17 addresses of a /24": func(i int) string { return fmt.Sprintf("41.1.1.%d", i+1) },
	}
	for name, at := range attackers {
		t.Run(name, func(t *testing.T) {
			inSwarm(t, 0, simnet.Options{Delay: 10 * time.Millisecond}, func(t *testing.T, s *testNetwork) {
				const records = 100
				for i := range 12 { // each in a network of its own, as strangers are
					addr := netip.MustParseAddrPort(fmt.Sprintf("25.0.%d.1:4774", i))
					if i > 0 {
						addr = netip.MustParseAddrPort(fmt.Sprintf("60.%d.1.1:4774", i))
					}
					s.add(Config{StoreBytes: 2 << 20, PacketConns: []net.PacketConn{s.net.Listen(addr)}})
				}
				victim, reader := s.nodes[1], s.nodes[2]
				put := func(i int) (routing.Key, Stored) {
					key := routing.KeyOf(fmt.Sprint(i))
					stored, err := s.nodes[3+i%9].Put(within(t, time.Minute), key, fmt.Append(nil, "honest ", i), nil)
					if err != nil {
						t.Errorf("put %d: %v", i, err)
					}
					return key, stored
				}
				var keys []routing.Key
				for i := range records {
					key, _ := put(i)
					keys = append(keys, key)
				}

				accepted, refused := 0, 0
				for i := range 17 {
					x := s.strangerAt(i, netip.AddrPortFrom(netip.MustParseAddr(at(i)), 4774))
					k := x.meet(victim)
					for j := range 8 {
						var m wire.Store
						for n := range 7 {
							key := victim.Key()
							key[31], key[30], key[29] = byte(i), byte(j), byte(n)
							m.Records = append(m.Records, signed(t, 1000+i, wire.Record{Kind: wire.KindOpen, Key: key, Seq: 1, Expiry: time.Now().Add(12 * time.Hour), Value: make([]byte, 4000)}))
						}
						switch a := k.ask(m).(type) {
						case wire.Stored:
							for _, code := range a.Results {
								if code == wire.CodeOK {
									accepted++
								} else {
									refused++
								}
							}
						case wire.Error:
							refused += 7
						}
					}
					k.conn.Close(wire.CloseIdle, "")
				}
				t.Logf("%d records of the flood were accepted, %d refused; the victim holds %d bytes", accepted, refused, victim.Stats().RecordBytes)
				if refused == 0 || accepted == 0 {
					t.Error("the flood has not filled its share")
				}

				for i, key := range keys {
					if !victim.HasRecord(wire.KindOpen, key) {
						t.Errorf("acknowledged record %d is gone", i)
					}
					if v, err := reader.Get(within(t, time.Minute), key, nil); err != nil || string(v.Data) != fmt.Sprint("honest ", i) {
						t.Errorf("get %d: %q, %v", i, v.Data, err)
					}
				}
				held := 0
				for i := records; i < 2*records; i++ {
					if key, _ := put(i); victim.HasRecord(wire.KindOpen, key) {
						held++
					}
				}
				if held < records*95/100 {
					t.Errorf("of %d new records the victim took %d", records, held)
				}
			})
		})
	}
}
