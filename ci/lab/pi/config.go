package pi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settings are what a configuration file says to one machine.
type settings map[string]string

// filter keeps the filters that are in force: those of different kinds combine, those
// of one kind replace each other, and [all] ends them.
type filter struct {
	model   Model
	tryboot bool
	pass    map[string]bool // by kind
}

// enter takes a line "[name]".
func (f *filter) enter(name string) error {
	switch kind, value, _ := strings.Cut(name, "="); {
	case name == "all":
		clear(f.pass)
	case name == "none":
		f.pass["none"] = false
	case name == "tryboot":
		f.pass["tryboot"] = f.tryboot
	case kind == "board-type":
		n, err := strconv.ParseInt(value, 0, 32)
		if err != nil {
			return fmt.Errorf("the filter [%s]: %w", name, err)
		}
		f.pass["board-type"] = int(n) == f.model.BoardType
	case slices.Contains([]string{"pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "cm4", "cm4s", "pi5", "pi500", "cm5"}, name):
		f.pass["model"] = slices.Contains(f.model.Filters, name)
	default:
		return fmt.Errorf("the filter [%s] is not one that is simulated", name)
	}
	return nil
}

func (f *filter) open() bool {
	for _, pass := range f.pass {
		if !pass {
			return false
		}
	}
	return true
}

// parse reads a configuration file. A later setting replaces an earlier one.
func parse(text string, model Model, tryboot bool) (settings, error) {
	s := settings{}
	f := filter{model, tryboot, map[string]bool{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		line = strings.TrimSpace(line)
		switch {
		case len(line) > 98:
			return nil, fmt.Errorf("line %d has more than 98 characters, which the firmware cuts off", i+1)
		case line == "":
		case line[0] == '[' && line[len(line)-1] == ']':
			if err := f.enter(line[1 : len(line)-1]); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		case f.open():
			name, value, ok := strings.Cut(line, "=")
			if rest, is := strings.CutPrefix(line, "initramfs "); is { // has no "="
				name, value, ok = "initramfs", rest, true
			}
			if !ok {
				return nil, fmt.Errorf("line %d: %q is no setting", i+1, line)
			}
			s[name] = value
		}
	}
	return s, nil
}
