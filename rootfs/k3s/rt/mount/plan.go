package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Call is one call of mount(2).
type Call struct {
	Source, Target, Type string
	Flags                uintptr
	Data                 string
}

// String describes the call without its data, which may hold a password.
func (c Call) String() string {
	return fmt.Sprintf("mount(%q, %q, %q, %#x)", c.Source, c.Target, c.Type, c.Flags)
}

// bindKept are the flags that the kernel heeds in a bind mount itself.
const bindKept = unix.MS_BIND | unix.MS_REC | unix.MS_SILENT

// Plan returns the calls that carry out r, in order. With several types, all
// but the first call for a type are left out; see Mount.
func Plan(r Request) []Call {
	var calls []Call
	data := strings.Join(r.Data, ",")
	switch {
	case r.Set&unix.MS_REMOUNT != 0:
		calls = append(calls, Call{Source: r.Source, Target: r.Target, Type: r.Type, Flags: r.Set, Data: data})
	case r.Set&unix.MS_BIND != 0:
		calls = append(calls, Call{Source: r.Source, Target: r.Target, Flags: r.Set & bindKept})
		if rest := r.Set &^ bindKept; rest != 0 {
			// The kernel takes a bind mount's other flags by a remount only.
			calls = append(calls, Call{Target: r.Target, Flags: rest | unix.MS_BIND | unix.MS_REMOUNT})
		}
	case r.Source != "":
		calls = append(calls, Call{Source: r.Source, Target: r.Target, Type: r.Type, Flags: r.Set, Data: data})
	}
	for _, p := range r.Propagation {
		calls = append(calls, Call{Target: r.Target, Flags: p})
	}
	return calls
}

// BlockTypes returns the file system types for block devices in the content
// of /proc/filesystems, in its order.
func BlockTypes(procFilesystems string) []string {
	var types []string
	for line := range strings.Lines(procFilesystems) {
		if name, ok := strings.CutPrefix(line, "\t"); ok {
			types = append(types, strings.TrimSpace(name))
		}
	}
	return types
}
