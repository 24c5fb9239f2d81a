package main

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A console is a machine's serial output with the time at which each line
// began, as the host saw it. It is safe for concurrent use.
type console struct {
	mu      sync.Mutex
	lines   []consoleLine
	partial []byte
	// began is when the first byte of partial came.
	began time.Time
}

// consoleLine is one line without its end and without terminal sequences.
type consoleLine struct {
	At   time.Time
	Text string
}

// add appends output that came at the time at.
func (c *console) add(at time.Time, output []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(output) > 0 {
		if len(c.partial) == 0 {
			c.began = at
		}
		end := bytes.IndexByte(output, '\n')
		if end < 0 {
			c.partial = append(c.partial, output...)
			return
		}
		c.partial = append(c.partial, output[:end]...)
		c.lines = append(c.lines, consoleLine{At: c.began, Text: plain(c.partial)})
		c.partial = c.partial[:0]
		output = output[end+1:]
	}
}

// snapshot returns the whole lines so far.
func (c *console) snapshot() []consoleLine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[:len(c.lines):len(c.lines)]
}

// terminalSequence matches what firmware and dashboards send to move the cursor.
var terminalSequence = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9]|[A-Za-z=>])`)

// plain removes terminal sequences and control characters.
func plain(line []byte) string {
	line = terminalSequence.ReplaceAll(line, nil)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, string(line)))
}

// bootMarks are the moments of a boot that its console shows.
type bootMarks struct {
	// Kernel is the kernel's first line: its EFI stub, before it unpacks itself.
	Kernel time.Time
	// KernelLine is that line.
	KernelLine string
	// Init is the first line of PID 1, whatever it is.
	Init     time.Time
	InitLine string
}

var (
	// kernelFirst is what a kernel says first: from its EFI stub, or, where that
	// is silent, its banner.
	kernelFirst = regexp.MustCompile(`^EFI stub: |(^|\] )Linux version \d`)
	// kernelOther is any later line of a kernel; without loglevel 7 there are few.
	kernelOther = regexp.MustCompile(`^EFI stub: |^\[ *\d+\.\d+\]|^(No EFI|Decompressing|Booting the kernel|Parsing ELF|Performing relocations|done\.|KASLR)|Linux version \d`)
)

// findMarks reads the marks from a console; a time is zero while it has not come.
func findMarks(lines []consoleLine) bootMarks {
	var m bootMarks
	for _, l := range lines {
		switch {
		case l.Text == "":
		case m.Kernel.IsZero():
			if kernelFirst.MatchString(l.Text) {
				m.Kernel, m.KernelLine = l.At, l.Text
			}
		case !kernelOther.MatchString(l.Text):
			m.Init, m.InitLine = l.At, l.Text
			return m
		}
	}
	return m
}

// reached is a milestone that a boot has passed, in seconds since the kernel's
// first line.
type reached struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// findMilestones returns those of wanted that the console shows after the time
// zero, in their order.
func findMilestones(lines []consoleLine, zero time.Time, wanted []milestone) []reached {
	var out []reached
	for _, w := range wanted {
		for _, l := range lines {
			if !l.At.Before(zero) && strings.Contains(l.Text, w.Text) {
				out = append(out, reached{w.Name, seconds(zero, l.At)})
				break
			}
		}
	}
	return out
}
