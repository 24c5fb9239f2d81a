package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// spread is a series of measurements of one quantity.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the median, for an even count the mean of the middle two,
// and the ends; the zero spread for none.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// quantity is one row of the comparison.
type quantity struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Goal is the largest ratio that is good enough; 0 for none.
	Goal float64 `json:"goal,omitempty"`

	value func(sample) float64
}

const mib = 1 << 20

// quantities are what is compared, in order.
func quantities() []quantity {
	return []quantity{
		{Name: "firmware and loader: power-on to the kernel's first line", Unit: "s", value: func(s sample) float64 { return s.Kernel }},
		{Name: "kernel to PID 1's first line", Unit: "s", value: func(s sample) float64 { return s.Init }},
		{Name: "kernel to Kubernetes API up", Unit: "s", value: func(s sample) float64 { return s.API }},
		{Name: "kernel to node Ready", Unit: "s", Goal: 0.5, value: func(s sample) float64 { return s.Ready }},
		{Name: "kernel to demo pod Running", Unit: "s", value: func(s sample) float64 { return s.Pod }},
		{Name: "power-on to node Ready", Unit: "s", value: func(s sample) float64 { return s.Total }},
		{Name: "memory used at Ready + 60 s", Unit: "MiB", Goal: 0.6, value: func(s sample) float64 { return float64(s.MemoryUsed) / mib }},
		{Name: "disk used at Ready + 60 s", Unit: "MiB", Goal: 0.1, value: func(s sample) float64 { return float64(s.DiskUsed) / mib }},
	}
}

// row is a quantity with what was measured.
type row struct {
	quantity
	Ours     spread `json:"ours"`
	Baseline spread `json:"baseline"`
	// Ratio is Ours' median over Baseline's.
	Ratio float64 `json:"ratio"`
}

// verdict says whether the row reaches its goal.
func (r row) verdict() string {
	switch {
	case r.Goal == 0 || r.Ratio == 0:
		return ""
	case r.Ratio <= r.Goal:
		return fmt.Sprintf("at most %.2f: met", r.Goal)
	}
	return fmt.Sprintf("at most %.2f: **not met**", r.Goal)
}

// report is the whole result.
type report struct {
	Measured time.Time `json:"measured"`
	Host     host      `json:"host"`
	Machine  string    `json:"machine"`
	Image    string    `json:"image"`
	OS       string    `json:"os"`
	Baseline string    `json:"baseline"`
	Rows     []row     `json:"rows"`
	Samples  []sample  `json:"samples"`
}

// fill computes the rows from the samples of the sides ours and baseline.
func (r *report) fill(samples []sample, ours, baseline string) {
	r.Samples = samples
	r.Rows = nil
	for _, q := range quantities() {
		values := map[string][]float64{}
		for _, s := range samples {
			values[s.Side] = append(values[s.Side], q.value(s))
		}
		one := row{quantity: q, Ours: spreadOf(values[ours]), Baseline: spreadOf(values[baseline])}
		if one.Baseline.Median > 0 {
			one.Ratio = one.Ours.Median / one.Baseline.Median
		}
		r.Rows = append(r.Rows, one)
	}
}

// json returns the report as an indented document.
func (r *report) json() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}

// markdown returns the report as a table.
func (r *report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Measured %s. Host: %s. Machine: %s.\n\n", r.Measured.Format("2006-01-02 15:04 MST"), r.Host, r.Machine)
	fmt.Fprintf(&out, "| median (min-max) | %s | %s | ratio | goal |\n|---|---|---|---|---|\n", r.OS, r.Baseline)
	for _, one := range r.Rows {
		ratio := "-"
		if one.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", one.Ratio)
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", one.Name,
			one.Ours.text(one.Unit), one.Baseline.text(one.Unit), ratio, one.verdict())
	}
	fmt.Fprintf(&out, "\n%s\n", r.runs())
	for _, name := range r.sideNames() {
		fmt.Fprintf(&out, "\n%s, seconds since the kernel's first line (medians):\n\n%s", name, r.timeline(name))
	}
	return out.String()
}

// timeline lists the milestones and measured times of a side in the order of
// their medians.
func (r *report) timeline(name string) string {
	values := map[string][]float64{}
	for _, s := range r.Samples {
		if s.Side != name {
			continue
		}
		for _, m := range s.Milestones {
			values[m.Name] = append(values[m.Name], m.Seconds)
		}
		values["**Kubernetes API up**"] = append(values["**Kubernetes API up**"], s.API)
		values["**node Ready**"] = append(values["**node Ready**"], s.Ready)
		values["**pod Running**"] = append(values["**pod Running**"], s.Pod)
	}
	type line struct {
		name string
		at   float64
	}
	var lines []line
	for name, v := range values {
		lines = append(lines, line{name, spreadOf(v).Median})
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name))
	})
	var out strings.Builder
	out.WriteString("| at | after | what |\n|---|---|---|\n")
	before := 0.0
	for _, l := range lines {
		fmt.Fprintf(&out, "| %.1f | %.1f | %s |\n", l.at, l.at-before, l.name)
		before = l.at
	}
	return out.String()
}

// sideNames returns the names of the sides that have samples, sorted.
func (r *report) sideNames() []string {
	var names []string
	for _, s := range r.Samples {
		names = append(names, s.Side)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// text is a spread for people.
func (s spread) text(unit string) string {
	if s == (spread{}) {
		return "-"
	}
	digits := 1
	if unit == "MiB" {
		digits = 0
	}
	return fmt.Sprintf("%.*f %s (%.*f-%.*f)", digits, s.Median, unit, digits, s.Min, digits, s.Max)
}

// runs says how many boots of each side there were and on which lines their
// first two times rest.
func (r *report) runs() string {
	counts, lines := map[string]int{}, map[string]sample{}
	for _, s := range r.Samples {
		counts[s.Side]++
		lines[s.Side] = s
	}
	var out []string
	for _, name := range r.sideNames() {
		out = append(out, fmt.Sprintf("%s: %d boots, kernel's first line %q, PID 1's %q.",
			name, counts[name], lines[name].KernelLine, lines[name].InitLine))
	}
	return strings.Join(out, "\n")
}
