// Package openmetrics writes OpenMetrics 1.0 text
// (https://github.com/prometheus/OpenMetrics).
package openmetrics

import (
	"strconv"
	"strings"
)

// ContentType is the text's media type.
const ContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// Type is the type of a metric family.
type Type string

// Types. A Counter's samples end with _total and an Info's with _info.
const (
	Gauge   Type = "gauge"
	Counter Type = "counter"
	Info    Type = "info"
)

// Text is an exposition under construction; the zero value is empty. Families
// come one after the other, each followed by its samples.
type Text struct {
	b    strings.Builder
	name string
	typ  Type
}

// Family begins a metric family. unit is "" or one of the base units, which name
// then ends with.
func (t *Text) Family(name string, typ Type, unit, help string) {
	t.name, t.typ = name, typ
	t.b.WriteString("# TYPE " + name + " " + string(typ) + "\n")
	if unit != "" {
		t.b.WriteString("# UNIT " + name + " " + unit + "\n")
	}
	t.b.WriteString("# HELP " + name + " " + escape(help) + "\n")
}

// Sample adds a value of the family; labels are names and values in turn.
func (t *Text) Sample(value float64, labels ...string) {
	t.sample(strconv.FormatFloat(value, 'g', -1, 64), labels)
}

// Count adds a value that is a whole number.
func (t *Text) Count(value uint64, labels ...string) {
	t.sample(strconv.FormatUint(value, 10), labels)
}

// Flag adds 1 or 0.
func (t *Text) Flag(value bool, labels ...string) {
	if value {
		t.Count(1, labels...)
	} else {
		t.Count(0, labels...)
	}
}

// State adds a sample for each state, 1 for the present one and 0 for the rest.
func (t *Text) State(present string, states []string, labels ...string) {
	for _, s := range states {
		t.Flag(s == present, append(labels[:len(labels):len(labels)], "state", s)...)
	}
}

func (t *Text) sample(value string, labels []string) {
	t.b.WriteString(t.name)
	switch t.typ {
	case Counter:
		t.b.WriteString("_total")
	case Info:
		t.b.WriteString("_info")
	}
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		t.b.WriteString(sep + labels[i] + `="` + escape(labels[i+1]) + `"`)
	}
	if len(labels) > 1 {
		t.b.WriteString("}")
	}
	t.b.WriteString(" " + value + "\n")
}

// String returns the exposition, with its end.
func (t *Text) String() string { return t.b.String() + "# EOF\n" }

// escape makes text fit for a label's value or a help text.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(s, "\ufffd"))
}
