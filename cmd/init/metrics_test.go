package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/digital-mycelium/os/pkg/api"
)

func testMeasurements() measurements {
	now := time.Date(2026, 11, 21, 12, 0, 0, 500e6, time.UTC)
	return measurements{
		status: api.Status{
			Version: "0.1.0", Board: `a "board"` + "\n\\", Arch: "amd64", Kernel: "6.12", Booted: now,
			Phases:     []api.Phase{{Name: "mounts", Seconds: 0.25}, {Name: "state", Seconds: 1, Error: "no disk"}},
			Memory:     api.Memory{Total: 1 << 30, Available: 1 << 29},
			Load:       api.Load{One: 0.5, Five: 1, Fifteen: 2, Processors: 4},
			Problems:   []string{"a", "b"},
			Volumes:    []api.Volume{{Label: "STATE", Size: 10, Free: 5, State: "mounted"}, {Label: "DATA", Size: 1 << 40, Reserved: 3, State: "created"}},
			Disks:      []api.Disk{{Name: "vda", Size: 2 << 30}},
			Services:   []api.Service{{Name: "k3s", State: "running", Restarts: 2}},
			Kubernetes: api.Kubernetes{APIUp: true, NodeReady: true, PodsRunning: 3, PodsTotal: 4},
			Membership: api.Membership{Expires: now},
		},
		time:    api.TimeStatus{TimeInfo: api.TimeInfo{Source: "ntp"}, Offset: -0.125, Synced: now},
		uptime:  90 * time.Second,
		network: []netCounters{{name: "eth0", up: true, receive: [4]uint64{1 << 60, 2, 3, 4}, transmit: [4]uint64{5, 6, 7, 8}}, {name: "eth1"}},
		disks:   []diskCounters{{name: "vda", reads: 1, writes: 2, bytesRead: 3, bytesWritten: 4, busy: 0.5}},
	}
}

// classic turns OpenMetrics into the text format that it grew from, whose
// families of counters are named with their suffix.
func classic(text string) string {
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (counter|info)$`).FindAllStringSubmatch(text, -1) {
		suffix := map[string]string{"counter": "_total", "info": "_info"}[m[2]]
		text = strings.ReplaceAll(text, "# TYPE "+m[1]+" "+m[2]+"\n", "# TYPE "+m[1]+suffix+" "+strings.Replace(m[2], "info", "gauge", 1)+"\n")
		text = strings.ReplaceAll(text, "# HELP "+m[1]+" ", "# HELP "+m[1]+suffix+" ")
	}
	return strings.TrimSuffix(text, "# EOF\n")
}

func TestMetricsParse(t *testing.T) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(classic(testMeasurements().text())))
	if err != nil {
		t.Fatal(err)
	}
	// value returns the sample with this label, the only one without.
	value := func(family, label, want string) (v float64) {
		t.Helper()
		f := families[family]
		if f == nil {
			t.Fatalf("no family %s", family)
		}
		for _, m := range f.GetMetric() {
			ok := label == ""
			for _, l := range m.GetLabel() {
				ok = ok || l.GetName() == label && l.GetValue() == want
			}
			if ok {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		t.Fatalf("%s has no sample %s=%q", family, label, want)
		return 0
	}
	for _, tt := range []struct {
		family, label, of string
		want              float64
	}{
		{"mycelium_build_info", "board", `a "board"` + "\n\\", 1},
		{"mycelium_boot_time_seconds", "", "", 1795262400.5},
		{"mycelium_uptime_seconds", "", "", 90},
		{"mycelium_boot_phase_duration_seconds", "phase", "mounts", 0.25},
		{"mycelium_boot_phase_failed", "phase", "state", 1},
		{"mycelium_memory_available_bytes", "", "", 1 << 29},
		{"mycelium_load15", "", "", 2},
		{"mycelium_processors", "", "", 4},
		{"mycelium_problems", "", "", 2},
		{"mycelium_volume_size_bytes", "volume", "DATA", 1 << 40},
		{"mycelium_volume_state", "state", "created", 0}, // of STATE, which comes first
		{"mycelium_disk_busy_seconds_total", "disk", "vda", 0.5},
		{"mycelium_disk_written_bytes_total", "disk", "vda", 4},
		{"mycelium_network_up", "interface", "eth1", 0},
		{"mycelium_network_receive_bytes_total", "interface", "eth0", 1 << 60},
		{"mycelium_network_transmit_dropped_total", "interface", "eth0", 8},
		{"mycelium_service_state", "state", "running", 1},
		{"mycelium_service_restarts_total", "service", "k3s", 2},
		{"mycelium_kubernetes_node_ready", "", "", 1},
		{"mycelium_kubernetes_pods_running", "", "", 3},
		{"mycelium_time_source", "source", "ntp", 1},
		{"mycelium_time_offset_seconds", "", "", -0.125},
		{"mycelium_certificate_expiry_timestamp_seconds", "", "", 1795262400},
	} {
		if got := value(tt.family, tt.label, tt.of); got != tt.want {
			t.Errorf("%s{%s=%q} = %v, want %v", tt.family, tt.label, tt.of, got, tt.want)
		}
	}
}

func TestMetricsLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(classic(testMeasurements().text()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// openMetricsLine is a line of OpenMetrics 1.0 (its ABNF, as far as it is used here).
var openMetricsLine = regexp.MustCompile(`^(# (TYPE|UNIT|HELP) [a-z_0-9]+ .+|[a-z_0-9]+(\{[a-z_]+="(\\[\\"n]|[^\\"\n])*"(,[a-z_]+="(\\[\\"n]|[^\\"\n])*")*\})? -?[0-9.e+-]+)$`)

func TestMetricsForm(t *testing.T) {
	for name, x := range map[string]measurements{"full": testMeasurements(), "empty": {}} {
		text, ended := strings.CutSuffix(x.text(), "\n# EOF\n")
		if !ended {
			t.Errorf("%s: no end", name)
		}
		family, seen := "", map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			fields := strings.Fields(line)
			switch {
			case !openMetricsLine.MatchString(line):
				t.Errorf("%s: line %q", name, line)
			case strings.HasPrefix(line, "# TYPE "):
				family = fields[2]
				if seen[family] {
					t.Errorf("%s: family %s stands twice", name, family)
				}
				seen[family] = true
			case strings.HasPrefix(line, "# UNIT ") && !strings.HasSuffix(fields[2], "_"+fields[3]):
				t.Errorf("%s: %s does not end with its unit", name, line)
			case !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, family):
				t.Errorf("%s: %q in the family %s", name, line, family)
			}
		}
	}
}

func TestReadNetCounters(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"eth0/device/vendor": "x", "eth0/operstate": "up\n", "eth0/statistics/rx_bytes": "100\n", "eth0/statistics/rx_packets": "2\n", "eth0/statistics/tx_bytes": "18446744073709551615\n",
		"eth0/statistics/rx_errors": "3\n", "eth0/statistics/tx_dropped": "4\n", "cni0/statistics/rx_bytes": "5\n",
	})
	got := readNetCounters(dir)
	want := netCounters{name: "eth0", up: true, receive: [4]uint64{100, 2, 3, 0}, transmit: [4]uint64{1<<64 - 1, 0, 0, 4}}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestReadDiskCounters(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sda"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, map[string]string{"vda/stat": "    1000    20    3000   400    50    6    700    80    0    2500    480 0 0 0 0\n"})
	got := readDiskCounters(dir, []string{"sda", "vda", "gone"})
	want := diskCounters{name: "vda", reads: 1000, bytesRead: 3000 * 512, writes: 50, bytesWritten: 700 * 512, busy: 2.5}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, s := range []string{"", "1 2 3", "1 2 3 4 5 6 7 8 9 10 x", strings.Repeat("-1 ", 11)} {
		if d, ok := parseDiskStat(s); ok {
			t.Errorf("%q: %+v", s, d)
		}
	}
}

func FuzzParseDiskStat(f *testing.F) {
	f.Add("1 2 3 4 5 6 7 8 9 10 11")
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := parseDiskStat(s); ok && d.busy < 0 {
			t.Errorf("%+v", d)
		}
	})
}
