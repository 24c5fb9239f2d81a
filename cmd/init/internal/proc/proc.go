// Package proc lists the processes of a Linux system from /proc, without their
// arguments, which may hold secrets.
package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// ticksPerSecond is the unit of times in /proc/PID/stat (USER_HZ), the same on
// every architecture that Go runs on.
const ticksPerSecond = 100

// List returns the processes in the file system dir (/proc) by number, given
// when the system started. One that ends meanwhile is left out.
func List(dir string, booted time.Time) ([]api.Process, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var list []api.Process
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 32); err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		p, err := parseStat(string(stat), booted)
		if err != nil {
			return nil, fmt.Errorf("process %s: %w", e.Name(), err)
		}
		group, err := os.ReadFile(filepath.Join(dir, e.Name(), "cgroup"))
		if err == nil {
			p.Cgroup = parseCgroup(string(group))
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b api.Process) int { return a.PID - b.PID })
	return list, nil
}

// Fields of proc_pid_stat(5), counted from the state behind the name.
const (
	fieldState   = 0
	fieldParent  = 1
	fieldUser    = 11
	fieldSystem  = 12
	fieldThreads = 17
	fieldStart   = 19
	fieldRSS     = 21
	minFields    = 22
)

// parseStat reads /proc/PID/stat: "42 (a name) S 1 ...". The name is the
// process' own choice, parentheses, white space and line ends included.
func parseStat(s string, booted time.Time) (api.Process, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return api.Process{}, errors.New("its stat has no name in parentheses")
	}
	fields := strings.Fields(s[end+1:])
	if len(fields) < minFields {
		return api.Process{}, fmt.Errorf("its stat has %d fields behind the name, want %d", len(fields), minFields)
	}
	var failed error
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 63)
		failed = errors.Join(failed, err)
		return n
	}
	p := api.Process{
		PID: int(number(strings.TrimSpace(s[:open]))), Name: strings.ToValidUTF8(s[open+1:end], "?"),
		State: fields[fieldState], Parent: int(number(fields[fieldParent])), Threads: int(number(fields[fieldThreads])),
		Resident: number(fields[fieldRSS]) * uint64(os.Getpagesize()),
		CPU:      float64(number(fields[fieldUser])+number(fields[fieldSystem])) / ticksPerSecond,
	}
	start := number(fields[fieldStart])
	p.Started = booted.Add(time.Duration(start/ticksPerSecond)*time.Second + time.Duration(start%ticksPerSecond)*time.Second/ticksPerSecond)
	if failed != nil {
		return api.Process{}, fmt.Errorf("its stat: %w", failed)
	}
	return p, nil
}

// parseCgroup returns the group in the unified hierarchy, "" when there is none.
func parseCgroup(s string) string {
	for line := range strings.Lines(s) {
		if group, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimRight(group, "\n")
		}
	}
	return ""
}
