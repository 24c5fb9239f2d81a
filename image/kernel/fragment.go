package kernel

import (
	"fmt"
	"sort"
	"strings"
)

// off is the value of an option that is not set.
const off = "n"

// option is a wanted value and where it was asked for.
type option struct {
	value, where string
}

// options are wanted values by the option's name, e.g. "CONFIG_SMP".
type options map[string]option

// fragment is one parsed fragment.
type fragment struct {
	options options
}

// parseFragment reads lines CONFIG_NAME=value, where value is y, m, n, a
// number or a quoted string, and "# CONFIG_NAME is not set". An option that
// occurs twice is an error: one of the two would be silently lost.
func parseFragment(name, text string) (fragment, error) {
	f := fragment{options: make(options)}
	for i, line := range strings.Split(text, "\n") {
		where := fmt.Sprintf("%s:%d", name, i+1)
		key, value, ok := parseLine(strings.TrimSpace(line))
		if !ok {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				return fragment{}, fmt.Errorf("%s: %q is not CONFIG_NAME=value", where, line)
			}
			continue
		}
		if first, twice := f.options[key]; twice {
			return fragment{}, fmt.Errorf("%s: %s is already set at %s", where, key, first.where)
		}
		f.options[key] = option{value: value, where: where}
	}
	return f, nil
}

// parseLine reads one line of a configuration or fragment.
func parseLine(line string) (key, value string, ok bool) {
	if rest, found := strings.CutPrefix(line, "# "); found {
		key, found = strings.CutSuffix(rest, " is not set")
		return key, off, found && validName(key)
	}
	key, value, ok = strings.Cut(line, "=")
	return key, value, ok && value != "" && validName(key)
}

func validName(s string) bool {
	rest, ok := strings.CutPrefix(s, "CONFIG_")
	if !ok || rest == "" {
		return false
	}
	for _, c := range rest {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// merge lays the fragments over each other; later ones win.
func merge(fragments []fragment) options {
	all := make(options)
	for _, f := range fragments {
		for k, v := range f.options {
			all[k] = v
		}
	}
	return all
}

// text returns the options as a configuration, sorted by name.
func (o options) text() string {
	var b strings.Builder
	for _, k := range o.names() {
		fmt.Fprintf(&b, "%s=%s\n", k, o[k].value)
	}
	return b.String()
}

func (o options) names() []string {
	names := make([]string, 0, len(o))
	for k := range o {
		names = append(names, k)
	}
	sort.Strings(names)
	return names
}

// UnmetError lists the options that are not as the fragments ask, although
// kconfig was told so: a dependency is missing, or the option is gone.
type UnmetError struct {
	// Unmet has a line for each option: what was asked where, and what it is.
	Unmet []string
}

// Error returns one line per option.
func (e *UnmetError) Error() string {
	return fmt.Sprintf("%d kernel options are not as asked "+
		"(look at what they depend on in the kernel's Kconfig files):\n  %s",
		len(e.Unmet), strings.Join(e.Unmet, "\n  "))
}

// verify compares a resolved configuration with the asked options.
func verify(asked options, config string) error {
	is := make(map[string]string)
	for _, line := range strings.Split(config, "\n") {
		if k, v, ok := parseLine(line); ok {
			is[k] = v
		}
	}
	var unmet []string
	for _, k := range asked.names() {
		want, have := asked[k], is[k]
		if have == "" {
			have = off
		}
		if have != want.value {
			unmet = append(unmet, fmt.Sprintf("%s is %s, %s asks for %s", k, have, want.where, want.value))
		}
	}
	if len(unmet) > 0 {
		return &UnmetError{Unmet: unmet}
	}
	return nil
}
