package replica

import (
	"sync"
	"time"

	"github.com/kadquic/kadquic/internal/background"
)

// handOverAfter is how long the node gathers newcomers, and lets them finish
// joining, before it hands over records. The delay is random, from half to one and
// a half times this, so that several holders do not find a record missing at once
// and all send it.
const handOverAfter = 3 * time.Second

// handOversAtOnce bounds the concurrent passes over the store, so that a slow
// newcomer does not delay the next one.
const handOversAtOnce = 4

// maxNewcomers bounds the contacts that wait, and those that handOver remembers.
const maxNewcomers = 1024

// newcomers are contacts that have entered the table, or are alive again, and wait for
// handOver to process them. Goroutines may share them.
type newcomers struct {
	wake background.Wake

	mu      sync.Mutex
	opened  bool
	waiting []contact
}

// open ends the initial period in which add ignores all contacts.
func (c *newcomers) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = true
}

// add notes one more contact.
func (c *newcomers) add(x contact) {
	c.mu.Lock()
	if c.opened && len(c.waiting) < maxNewcomers {
		c.waiting = append(c.waiting, x)
	}
	c.mu.Unlock()
	c.wake.Set()
}

func (c *newcomers) take() []contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting
	c.waiting = nil
	return all
}
