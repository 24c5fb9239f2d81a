// Package modules matches the aliases of devices with kernel modules, as
// modprobe does with modules.alias.
package modules

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Table holds the aliases of a kernel's modules by bus, so that matching an
// alias looks at the patterns of its own bus alone.
type Table struct {
	byBus map[string][]entry
}

type entry struct{ pattern, module string }

// ReadTable reads a modules.alias file: "alias PATTERN MODULE" lines.
func ReadTable(r io.Reader) (*Table, error) {
	t := &Table{byBus: map[string][]entry{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) == 3 && f[0] == "alias" {
			pattern := normal(f[1])
			t.byBus[bus(pattern)] = append(t.byBus[bus(pattern)], entry{pattern, f[2]})
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read module aliases: %w", err)
	}
	return t, nil
}

// Lookup returns the modules whose patterns match the alias, each once.
func (t *Table) Lookup(alias string) []string {
	var names []string
	alias = normal(alias)
	for _, e := range t.byBus[bus(alias)] {
		if Match(e.pattern, alias) && !slices.Contains(names, e.module) {
			names = append(names, e.module)
		}
	}
	return names
}

// bus returns what stands before the first colon or wildcard: "pci" of
// "pci:v00001AF4d...", "acpi" of "acpi*:PNP0501:*".
func bus(alias string) string {
	if i := strings.IndexAny(alias, ":*?["); i >= 0 {
		return alias[:i]
	}
	return alias
}

// normal treats '-' as '_', which module names do not distinguish.
func normal(s string) string { return strings.ReplaceAll(s, "-", "_") }

// Match reports whether the shell pattern (*, ?, [a-z], [!a]) matches all of s.
func Match(pattern, s string) bool {
	// Position to go back to when a later part does not match: the last star.
	star, resume := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, resume = p, i
				p++
				continue
			}
			if n, ok := matchOne(pattern[p:], s[i]); ok {
				p, i = p+n, i+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		resume++
		p, i = star+1, resume
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one byte with the first element of pattern and returns the
// element's length.
func matchOne(pattern string, c byte) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		// '-' was normalised to '_' everywhere, so a range is written a_z.
		end := strings.IndexByte(pattern, ']')
		if end < 2 {
			return 1, c == '['
		}
		set := pattern[1:end]
		negate := set[0] == '!'
		set = strings.TrimPrefix(set, "!")
		in := false
		for len(set) > 0 {
			if len(set) >= 3 && set[1] == '_' {
				in = in || set[0] <= c && c <= set[2]
				set = set[3:]
			} else {
				in = in || set[0] == c
				set = set[1:]
			}
		}
		return end + 1, in != negate
	}
	return 1, pattern[0] == c
}
