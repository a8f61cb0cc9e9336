package lan

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// RFC 6762 §5.2, §8.3: queries at growing intervals, two announcements.
func TestTalkWithoutOtherHosts(t *testing.T) {
	start := time.Now()
	k := newTalk(start)
	var asked, told []time.Duration
	for now := start; now.Before(start.Add(time.Hour)); now = k.next() {
		ask, tell := k.due(now)
		if ask {
			asked = append(asked, now.Sub(start))
		}
		if tell {
			told = append(told, now.Sub(start))
		}
	}
	if len(told) != announcements || told[1]-told[0] < apart {
		t.Errorf("it tells at %v", told)
	}
	for i := 1; i < len(asked); i++ {
		if wait := asked[i] - asked[i-1]; wait < firstWait*7/8 || wait > lastWait*9/8 {
			t.Errorf("it asks at %v, and then at %v", asked[i-1], asked[i])
		}
	}
	if len(asked) < 15 || len(asked) > 25 {
		t.Errorf("it asks %d times in an hour", len(asked))
	}
}

// Frequent queries get prompt answers, at most one a second.
func TestAnswersAreRateLimited(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		k := newTalk(now)
		var last, since time.Time // told; asked and not told since
		for range 500 {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "asked") {
				k.asked(now)
				if since.IsZero() {
					since = now
				}
			}
			at := k.next()
			if at.Before(now) {
				at = now
			}
			_, tell := k.due(at)
			now = at
			if !tell {
				continue
			}
			if !last.IsZero() && now.Sub(last) < apart {
				t.Fatalf("it tells %v after it told", now.Sub(last))
			}
			last, since = now, time.Time{}
		}
		if !since.IsZero() && now.Sub(since) > 10*time.Minute {
			t.Fatalf("asked %v ago", now.Sub(since))
		}
	})
}

func TestAnswerIsSuppressedAfterEnoughOthers(t *testing.T) {
	now := time.Now()
	k := newTalk(now)
	for range 10 {
		now = k.next()
		k.due(now)
	}
	for _, others := range []int{0, enough - 1, enough} {
		now = now.Add(time.Minute)
		k.asked(now)
		k.others += others
		if _, tell := k.due(now.Add(time.Second)); tell != (others < enough) {
			t.Errorf("after %d others it tells: %v", others, tell)
		}
	}
}

// Other hosts' queries replace ours: a LAN of a thousand peers is as quiet as one of two.
func TestQueryIsSuppressedByOthers(t *testing.T) {
	now := time.Now()
	k := newTalk(now)
	asks := 0
	for end := now.Add(10 * time.Hour); now.Before(end); now = now.Add(time.Second) {
		if ask, _ := k.due(now); ask {
			asks++
		}
		if now.Unix()%60 == 0 {
			k.asked(now)
		}
	}
	if asks > 20 {
		t.Errorf("it asks %d times in ten hours", asks)
	}
}

func TestLimits(t *testing.T) {
	var l limits
	now := time.Now()
	ip := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for minute := range 3 {
		now = now.Add(time.Minute)
		all := 0
		for i := range 100 {
			of := 0
			for j := range 100 {
				if l.allow(now, ip(i), peerID(j)) {
					of++
				}
				if l.allow(now.Add(time.Second), ip(i), peerID(j)) {
					t.Fatal("a peer twice in a minute")
				}
			}
			if of > maxFoundOf || i == 0 && of != maxFoundOf {
				t.Errorf("%d of one sender", of)
			}
			all += of
		}
		if all != maxFound || len(l.seen) > maxFound || len(l.of) > maxFound {
			t.Errorf("in minute %d: %d in all, %d, %d remembered", minute, all, len(l.seen), len(l.of))
		}
	}
}

func prefixes(s ...string) (all []netip.Prefix) {
	for _, p := range s {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func TestReaches(t *testing.T) {
	at := iface{net: &net.Interface{Name: "eth0"}, index: 2, addrs: prefixes("192.168.1.5/24", "10.0.0.0/31", "25.1.0.1/32", "fd00::5/64", "fe80::5/64")}
	for ip, want := range map[string]bool{
		"192.168.1.1": true, "192.168.1.254": true, "192.168.1.5": true, "10.0.0.0": true, "10.0.0.1": true, "25.1.0.1": true, "fd00::1": true,
		"192.168.1.0": false, "192.168.1.255": false, "192.168.2.1": false, "10.0.0.2": false, "25.1.0.2": false,
		"127.0.0.1": false, "255.255.255.255": false, "224.0.0.251": false, "fe80::1": false, "fd00:0:0:1::1": false, "::1": false, "::": false,
	} {
		if got := at.reaches(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	for _, c := range []struct {
		from  string
		index int
		want  bool
	}{
		{"192.168.1.7:5353", 2, true}, {"192.168.1.7:5353", 0, true}, {"192.168.1.7:5353", 3, false}, {"192.168.2.7:5353", 2, false},
		{"[fe80::7%eth0]:5353", 2, true}, {"[fe80::7%eth1]:5353", 0, false}, {"[fe80::7]:5353", 2, true}, {"[fd00::7]:5353", 0, true}, {"[fd01::7]:5353", 2, false},
	} {
		if got := at.has(netip.MustParseAddrPort(c.from), c.index); got != c.want {
			t.Errorf("from %s by %d: %v", c.from, c.index, got)
		}
	}
}

func TestDoors(t *testing.T) {
	at := iface{addrs: prefixes("fd00::5/64", "fe80::5/64", "192.168.1.5/24", "169.254.7.7/16")}
	for _, c := range []struct {
		bound []string
		want  []string
	}{
		{[]string{"[::]:1"}, []string{"192.168.1.5:1", "169.254.7.7:1", "[fd00::5]:1"}},
		{[]string{"0.0.0.0:1"}, []string{"192.168.1.5:1", "169.254.7.7:1"}},
		{[]string{"192.168.1.5:1", "[fd00::5]:2", "127.0.0.1:3", "[::1]:3", "192.168.2.5:4"}, []string{"192.168.1.5:1", "[fd00::5]:2"}},
		{nil, nil},
	} {
		var bound, want []netip.AddrPort
		for _, a := range c.bound {
			bound = append(bound, netip.MustParseAddrPort(a))
		}
		for _, a := range c.want {
			want = append(want, netip.MustParseAddrPort(a))
		}
		if got := at.doors(bound); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", c.bound, got, want)
		}
	}
}
