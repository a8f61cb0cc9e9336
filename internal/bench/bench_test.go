package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is every workload in a second or so, whatever the machine.
var tiny = Options{N: 8, M: 20, C: 3, bulk: 1 << 20, trips: 20, contacts: 1000, mesh: 50, records: 300}

// run runs a workload and returns its report as JSON has it.
func run(t *testing.T, name string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var progress bytes.Buffer
	report, err := Run(ctx, name, tiny, &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if progress.Len() == 0 {
		t.Error("no word of progress")
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["workload"] != name || fields["n"] != 8.0 || fields["m"] != 20.0 {
		t.Errorf("report of %v with n %v, m %v; asked for %s with 8, 20", fields["workload"], fields["n"], fields["m"], name)
	}
	return fields
}

// positive wants numbers above zero under these names.
func positive(t *testing.T, fields map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		if v, ok := fields[name].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v, want a number above 0", name, fields[name])
		}
	}
}

// exactly wants that number under a name.
func exactly(t *testing.T, fields map[string]any, name string, want float64) {
	t.Helper()
	if v, ok := fields[name].(float64); !ok || v != want {
		t.Errorf("%s is %v, want %v", name, fields[name], want)
	}
}

// within wants a number from low to high under a name. A machine with too much
// to do may lose an operation now and then.
func within(t *testing.T, fields map[string]any, name string, low, high float64) {
	t.Helper()
	if v, ok := fields[name].(float64); !ok || v < low || v > high {
		t.Errorf("%s is %v, want %v to %v", name, fields[name], low, high)
	}
}

// This test runs first, while the heap is unchanged: garbage of other workloads would count
// in bytes_per_contact.
func TestTable(t *testing.T) {
	f := run(t, "w3")
	positive(t, f, "ns_per_insert", "ns_per_nearest", "table_len")
	within(t, f, "bytes_per_contact", 0, 10_000)          // 0 when it runs again, after others
	if a := f["allocs_per_nearest"].(float64); a > 0.01 { // the runtime's own
		t.Errorf("%v allocations for one nearest, want 0", a)
	}
	exactly(t, f, "inserts", 1000)
	exactly(t, f, "queries", 10_000)
}

func TestFloor(t *testing.T) {
	f := run(t, "floor")
	positive(t, f, "cpu_ms_per_connect", "connects_per_s", "connect_p50_ms", "mb_per_s", "cpu_s_per_gib")
	for _, kind := range []string{"udp", "stream", "fresh"} {
		echoes, _ := f[kind].([]any)
		if len(echoes) != 2 {
			t.Fatalf("%s has %d measurements, want 2", kind, len(echoes))
		}
		for i, c := range []float64{1, 3} {
			e := echoes[i].(map[string]any)
			exactly(t, e, "c", c)
			positive(t, e, "cpu_us_per_rpc", "rtt_us_p50")
		}
	}
}

func TestMesh(t *testing.T) {
	f := run(t, "floor-mesh")
	positive(t, f, "cpu_us_per_rpc", "rtt_us_p50")
	exactly(t, f, "peers", 8)
	exactly(t, f, "connections", 8*7)
	exactly(t, f, "in_flight", 24)
}

func TestRPC(t *testing.T) {
	f := run(t, "rpc")
	echoes, _ := f["rpc"].([]any)
	if len(echoes) != 2 {
		t.Fatalf("%d measurements, want 2", len(echoes))
	}
	for _, e := range echoes {
		positive(t, e.(map[string]any), "c", "cpu_us_per_rpc", "rtt_us_p50", "x_floor", "floor_cpu_us_per_rpc")
	}
}

func TestKV(t *testing.T) {
	f := run(t, "w1")
	positive(t, f, "boot_s", "boot_cpu_s", "mesh_cpu_us_per_rpc",
		"put_p50_ms", "put_p99_ms", "puts_per_s", "put_per_cpu_s", "rpcs_per_put", "x_floor_put",
		"get_p50_ms", "get_p99_ms", "gets_per_s", "get_per_cpu_s",
		"rss_mb_per_node", "conns_per_node", "goroutines_per_node")
	within(t, f, "put_ok", 0.9, 1)
	within(t, f, "get_ok", 0.9, 1)
	within(t, f, "replicas", 7, 8) // all there are
	// Every node holds every value, so a get sends hardly any request.
	within(t, f, "rpcs_per_get", 0, 1)
	within(t, f, "x_floor_get", 0, 1e6)
}

func TestLookups(t *testing.T) {
	f := run(t, "w2")
	positive(t, f, "lookups_per_s", "lookup_p50_ms", "lookup_p99_ms", "lookups_per_cpu_s",
		"rpcs_per_lookup", "x_floor", "mesh_cpu_us_per_rpc")
	within(t, f, "recall", 0.9, 1)
}

func TestStreams(t *testing.T) {
	f := run(t, "w4")
	positive(t, f, "mb_per_s", "cpu_s_per_gib", "rtt_us_p50", "rtt_us_p50_fresh",
		"x_floor", "x_floor_cpu", "x_floor_rtt", "x_floor_rtt_fresh")
}

func TestConnects(t *testing.T) {
	f := run(t, "w5")
	positive(t, f, "connects_per_s", "connect_p50_ms", "cpu_ms_per_connect", "x_floor", "floor_cpu_ms_per_connect")
}

func TestChurn(t *testing.T) {
	f := run(t, "w6")
	positive(t, f, "get_p50_ms", "get_p99_ms", "get_max_ms")
	within(t, f, "get_ok", 0.9, 1)
	exactly(t, f, "killed", 2)
}

func TestRunRefuses(t *testing.T) {
	if _, err := Run(t.Context(), "w7", tiny, nil); err == nil || !strings.Contains(err.Error(), "floor-mesh") {
		t.Errorf("unknown workload: %v, want an error that lists those there are", err)
	}
	for _, o := range []Options{{N: 1}, {M: -1}, {C: -1}, {V: -1}} {
		if _, err := Run(t.Context(), "w3", o, nil); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := Run(t.Context(), "w1", Options{V: 1 << 20}, nil); err == nil {
		t.Error("values of 1 MiB were accepted")
	}
}

// Every workload ends when its context does, and leaves nothing behind.
func TestRunStops(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range Names() {
		if _, err := Run(ended, name, tiny, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	var l latencies
	for i := range 1000 {
		l = append(l, time.Duration(1000-i)*time.Millisecond)
	}
	got := []float64{l.quantile(0, time.Millisecond), l.quantile(0.5, time.Millisecond), l.quantile(0.99, time.Millisecond), l.quantile(1, time.Millisecond)}
	if want := []float64{1, 500, 990, 1000}; !slices.Equal(got, want) {
		t.Errorf("quantiles 0, 0.5, 0.99 and 1 of 1…1000 ms are %v, want %v", got, want)
	}
	if q := (latencies)(nil).quantile(0.5, time.Second); q != 0 {
		t.Errorf("the median of nothing is %v, want 0", q)
	}
}

func TestStore(t *testing.T) {
	f := run(t, "store")
	exactly(t, f, "records", 300)
	exactly(t, f, "record_bytes", 512)
	positive(t, f, "puts_per_s", "put_p50_ms", "put_p99_ms", "batched_records_per_s", "get_p50_us", "get_p99_us", "restart_ms", "file_bytes")
}
