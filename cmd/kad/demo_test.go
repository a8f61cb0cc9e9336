package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// The demonstration is no show: a value that comes back changed, or not at all,
// is told and ends it with an error.
func TestDemonstrationTellsWrongValues(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a network")
	}
	var out bytes.Buffer
	a := &app{out: &out, err: io.Discard, timeout: 30 * time.Second}
	items, err := demoItems([]string{"a=1", "b=2", "c=3"})
	if err != nil {
		t.Fatal(err)
	}
	d := &demonstration{app: a, fleet: newFleet("demo", 8, nil), k: 8, items: items[:2]}
	defer d.fleet.close()
	ctx := t.Context()
	if err := d.join(ctx, 4); err != nil {
		t.Fatal(err)
	}
	if err := d.put(ctx); err != nil {
		t.Fatal(err)
	}

	d.items = items                 // c was never put,
	d.items[1].value = []byte("no") // and b was another
	if err := d.getAll(ctx); err != nil {
		t.Fatal(err)
	}
	if d.wrong != 2 {
		t.Errorf("%d wrong values counted, want 2", d.wrong)
	}
	for _, want := range []string{`"1", right, in`, `WRONG: "2"`, "failed: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, out.String())
		}
	}
	if err := d.verdict(time.Now()); err == nil {
		t.Error("the verdict is good")
	}
}
