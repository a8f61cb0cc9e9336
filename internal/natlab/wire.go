package natlab

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// A wire carries packets between two TUN devices, late, at a limited rate, or not at
// all: what tc's netem would do, on kernels that lack it too. It runs four goroutines
// until it is closed.
type wire struct {
	devs [2]*os.File
	wg   sync.WaitGroup
}

// errNoTUN is an error of a machine that has no TUN devices to give. New cannot know:
// most tests need none.
var errNoTUN = errors.New("no TUN devices")

func newWire(a, b end, link Link) (*wire, error) {
	w := new(wire)
	for i, e := range []end{a, b} {
		err := e.ns.do(func() (err error) {
			w.devs[i], err = openTUN(e.dev)
			return err
		})
		if err != nil {
			w.close()
			return nil, err
		}
	}
	w.carry(w.devs[0], w.devs[1], link)
	w.carry(w.devs[1], w.devs[0], link)
	return w, nil
}

// close takes the devices away and ends the goroutines.
func (w *wire) close() {
	for _, dev := range w.devs {
		if dev != nil {
			dev.Close()
		}
	}
	w.wg.Wait()
}

// carry moves packets one way.
func (w *wire) carry(from, to *os.File, link Link) {
	type parcel struct {
		due    time.Time
		packet []byte
	}
	under := make(chan parcel, 1<<14) // packets in flight; further ones are lost
	w.wg.Go(func() {
		defer close(under)
		plan := schedule{link: link}
		for buf := make([]byte, 1<<16); ; {
			n, err := from.Read(buf)
			if err != nil {
				return // closed
			}
			if due, ok := plan.next(time.Now(), n); ok {
				select {
				case under <- parcel{due, bytes.Clone(buf[:n])}:
				default:
				}
			}
		}
	})
	w.wg.Go(func() {
		for p := range under {
			time.Sleep(time.Until(p.due))
			to.Write(p.packet) // fails when the other end is down: the packet is lost
		}
	})
}

// A schedule says when the packets of one direction arrive, if they do.
type schedule struct {
	link Link
	free time.Time // when the sender has sent all that it was given
	last time.Time // when the last packet arrives
}

// next is when a packet of so many bytes arrives that is sent at now, not before the
// last time; false if it is lost.
func (s *schedule) next(now time.Time, size int) (due time.Time, ok bool) {
	l := s.link
	if rand.Float64() < l.Loss {
		return time.Time{}, false
	}
	if s.free.Before(now) {
		s.free = now
	}
	if l.Rate > 0 {
		if s.free.Sub(now) > max(50*time.Millisecond, l.toSend(64<<10)) {
			return time.Time{}, false
		}
		s.free = s.free.Add(l.toSend(size))
	}
	due = s.free.Add(l.Delay)
	if l.Jitter > 0 {
		due = due.Add(rand.N(l.Jitter))
	}
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	return due, true
}

// toSend is how long the link takes to send so many bytes.
func (l Link) toSend(bytes int) time.Duration {
	return time.Duration(bytes) * 8 * time.Second / time.Duration(l.Rate)
}
