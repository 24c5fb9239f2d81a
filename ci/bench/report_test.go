package main

import (
	"strings"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	cases := []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{3, 1, 2}, spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, spread{2.5, 1, 4}},
	}
	for _, c := range cases {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := report{OS: "ours", Baseline: "theirs"}
	r.fill([]sample{
		{Side: "a", Ready: 10, MemoryUsed: 300 * mib, DiskUsed: 50 * mib},
		{Side: "b", Ready: 40, MemoryUsed: 400 * mib, DiskUsed: 1000 * mib},
		{Side: "a", Ready: 14, MemoryUsed: 320 * mib, DiskUsed: 50 * mib},
		{Side: "b", Ready: 44, MemoryUsed: 420 * mib, DiskUsed: 1000 * mib},
	}, "a", "b")
	table := r.markdown()
	for _, want := range []string{
		"| kernel to node Ready | 12.0 s (10.0-14.0) | 42.0 s (40.0-44.0) | 0.29 | at most 0.50: met |",
		"| memory used at Ready + 60 s | 310 MiB (300-320) | 410 MiB (400-420) | 0.76 | at most 0.60: **not met** |",
		"| disk used at Ready + 60 s | 50 MiB (50-50) | 1000 MiB (1000-1000) | 0.05 | at most 0.10: met |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no line %q in\n%s", want, table)
		}
	}
}

// A comparison that lacks a side has no ratios and reaches no goal.
func TestReportOneSide(t *testing.T) {
	var r report
	r.fill([]sample{{Side: "a", Ready: 10}}, "a", "b")
	for _, one := range r.Rows {
		if one.Ratio != 0 || one.verdict() != "" {
			t.Errorf("%s: ratio %v, verdict %q", one.Name, one.Ratio, one.verdict())
		}
	}
}

func TestMeminfo(t *testing.T) {
	const text = "MemTotal:        2006008 kB\nMemFree:         1875188 kB\nHugePages_Total:       0\n"
	if got, err := meminfo(text, "MemTotal"); err != nil || got != 2006008<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, field := range []string{"MemAvailable", "Mem"} {
		if _, err := meminfo(text, field); err == nil {
			t.Errorf("%s: no error", field)
		}
	}
}

func TestTimeline(t *testing.T) {
	r := report{Samples: []sample{
		{Side: "a", API: 5, Ready: 7, Pod: 9, Milestones: []reached{{"init runs", 1}, {"late", 8}}},
		{Side: "a", API: 5, Ready: 7, Pod: 9, Milestones: []reached{{"init runs", 2}, {"late", 8}}},
		{Side: "b", API: 50},
	}}
	const want = "| at | after | what |\n|---|---|---|\n" +
		"| 1.5 | 1.5 | init runs |\n| 5.0 | 3.5 | **Kubernetes API up** |\n| 7.0 | 2.0 | **node Ready** |\n" +
		"| 8.0 | 1.0 | late |\n| 9.0 | 1.0 | **pod Running** |\n"
	if got := r.timeline("a"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
