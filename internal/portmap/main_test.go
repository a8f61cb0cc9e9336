package portmap

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the program that natlab runs on a host: a Mapper that prints its state
// as a line of JSON at each change, until it is interrupted.
func TestMain(m *testing.M) {
	if port := os.Getenv("PORTMAP_TEST_PORT"); port != "" {
		n, _ := strconv.ParseUint(port, 10, 16)
		mapHere(uint16(n))
		return
	}
	goleak.VerifyTestMain(m)
}

type told struct {
	Outside  string
	Public   bool
	Protocol string
	Lifetime time.Duration
	Spoken   []string
	Asked    bool // all protocols have been
	Why      string
}

func mapHere(port uint16) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	config := Config{Port: port, Secret: []byte("test"), look: lookEvery / 50, check: checkEvery / 400}
	if only := os.Getenv("PORTMAP_TEST_PROTOCOL"); only != "" {
		var all Mapper
		config.askers = func(r route) [protocols]asker {
			askers := all.all(r)
			for p := range protocols {
				if p.String() != only {
					askers[p] = &fakeAsker{mu: new(sync.Mutex), deaf: true}
				}
			}
			return askers
		}
	}
	m := New(config)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		m.Run(ctx)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	var last string
	for ctx.Err() == nil {
		s := m.State()
		t := told{Public: isPublic(s.Mapping.Outside.Addr()), Lifetime: s.Mapping.Lifetime, Why: s.Why, Asked: true}
		if !s.Mapping.IsZero() {
			t.Outside, t.Protocol = s.Mapping.Outside.String(), s.Mapping.Protocol.String()
		}
		for _, a := range s.Answers {
			t.Asked = t.Asked && !a.Asked.IsZero()
		}
		for _, p := range s.Spoken() {
			t.Spoken = append(t.Spoken, p.String())
		}
		if text, _ := json.Marshal(t); string(text) != last {
			last = string(text)
			fmt.Println(last)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	<-ran
	m.Release()
}
