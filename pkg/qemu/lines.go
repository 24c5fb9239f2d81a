package qemu

import (
	"regexp"
	"strings"
)

// control matches what a terminal acts on instead of showing it: escape
// sequences (ECMA-48 CSI and OSC), and control characters except tab and newline.
var control = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]`)

// Plain returns console output as text, without what steers a terminal.
func Plain(console []byte) string { return control.ReplaceAllString(string(console), "") }

// LastLines returns the last max lines of console output that are not empty,
// as text.
func LastLines(console []byte, max int) string {
	const enough = 64 << 10
	if len(console) > enough {
		console = console[len(console)-enough:]
	}
	var lines []string
	for line := range strings.SplitSeq(Plain(console), "\n") {
		if line = strings.TrimRight(line, " \t"); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > max {
		lines = lines[len(lines)-max:]
	}
	return strings.Join(lines, "\n")
}
