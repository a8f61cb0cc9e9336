package main

import (
	"fmt"
	"time"

	"github.com/kadquic/kadquic/internal/control"
)

// sentence tells of a hop, the peer being called by name.
func sentence(h control.Hop, name string) string {
	verb := "asks"
	if h.Store {
		verb = "stores on"
	}
	d := took(time.Duration(h.Took))
	switch {
	case h.Unanswered:
		return fmt.Sprintf("%s %s: not waited for", verb, name)
	case h.Error != "":
		return fmt.Sprintf("%s %s: no answer, given up after %s: %s", verb, name, d, oneLine(h.Error))
	}
	what := "names " + plural(h.Closer, "node")
	switch {
	case h.Value:
		what = "has the value"
	case h.Store:
		what = "has stored"
	case h.Closer == 0:
		what = "knows nobody nearer"
	}
	return fmt.Sprintf("%s %s: %s, %s", verb, name, what, d)
}
