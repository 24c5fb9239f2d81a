package openmetrics

import "testing"

func TestText(t *testing.T) {
	var text Text
	text.Family("a_bytes", Gauge, "bytes", "How \"much\".")
	text.Count(1<<63, "x", "1", "y", "a\\b\"c\nd\xff")
	text.Family("b", Counter, "", "How often.")
	text.Sample(0.25)
	text.Family("c", Info, "", "What.")
	text.Flag(true, "version", "1")
	text.Family("d", Gauge, "", "Which.")
	labels := make([]string, 2, 8) // with space behind, which State must not use
	labels[0], labels[1] = "n", "k3s"
	text.State("on", []string{"off", "on"}, labels...)
	want := `# TYPE a_bytes gauge
# UNIT a_bytes bytes
# HELP a_bytes How \"much\".
a_bytes{x="1",y="a\\b\"c\nd` + "\ufffd" + `"} 9223372036854775808
# TYPE b counter
# HELP b How often.
b_total 0.25
# TYPE c info
# HELP c What.
c_info{version="1"} 1
# TYPE d gauge
# HELP d Which.
d{n="k3s",state="off"} 0
d{n="k3s",state="on"} 1
# EOF
`
	if got := text.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := new(Text).String(); got != "# EOF\n" {
		t.Errorf("empty: %q", got)
	}
}
