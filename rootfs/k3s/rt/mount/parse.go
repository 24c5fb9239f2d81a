// Package mount is the part of util-linux' mount(8) and umount(8) that the
// kubelet calls: it mounts by file system type, binds, remounts and unmounts,
// and has neither fstab, labels, loop devices nor helper programs.
package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Request is what a command line of mount asks for.
type Request struct {
	// Type is the file system type; empty means every type that the kernel
	// knows for block devices, one after another.
	Type   string
	Source string
	Target string
	// Set and Clear are the MS_ flags that options turn on and off.
	Set, Clear uintptr
	// Propagation are MS_SHARED and its like, with or without MS_REC, in order.
	Propagation []uintptr
	// Data are the options that the file system itself reads.
	Data []string
}

type flagOption struct {
	flag  uintptr
	clear bool
}

// flagOptions are the options that are flags of mount(2).
func flagOptions() map[string]flagOption {
	return map[string]flagOption{
		"ro": {flag: unix.MS_RDONLY}, "rw": {flag: unix.MS_RDONLY, clear: true},
		"nosuid": {flag: unix.MS_NOSUID}, "suid": {flag: unix.MS_NOSUID, clear: true},
		"nodev": {flag: unix.MS_NODEV}, "dev": {flag: unix.MS_NODEV, clear: true},
		"noexec": {flag: unix.MS_NOEXEC}, "exec": {flag: unix.MS_NOEXEC, clear: true},
		"sync": {flag: unix.MS_SYNCHRONOUS}, "async": {flag: unix.MS_SYNCHRONOUS, clear: true},
		"dirsync": {flag: unix.MS_DIRSYNC}, "silent": {flag: unix.MS_SILENT},
		"mand": {flag: unix.MS_MANDLOCK}, "nomand": {flag: unix.MS_MANDLOCK, clear: true},
		"noatime": {flag: unix.MS_NOATIME}, "atime": {flag: unix.MS_NOATIME, clear: true},
		"nodiratime": {flag: unix.MS_NODIRATIME}, "diratime": {flag: unix.MS_NODIRATIME, clear: true},
		"relatime": {flag: unix.MS_RELATIME}, "norelatime": {flag: unix.MS_RELATIME, clear: true},
		"strictatime": {flag: unix.MS_STRICTATIME}, "lazytime": {flag: unix.MS_LAZYTIME},
		"nosymfollow": {flag: unix.MS_NOSYMFOLLOW},
		"remount":     {flag: unix.MS_REMOUNT},
		"bind":        {flag: unix.MS_BIND},
		"rbind":       {flag: unix.MS_BIND | unix.MS_REC},
	}
}

// propagationOptions are the options that need a call of mount(2) of their own.
func propagationOptions() map[string]uintptr {
	return map[string]uintptr{
		"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
		"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
		"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
		"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
	}
}

// ignored reports whether an option means something to fstab's readers only.
func ignored(option string) bool {
	switch option {
	case "", "defaults", "auto", "noauto", "_netdev", "nofail", "user", "nouser", "users", "owner", "group":
		return true
	}
	return strings.HasPrefix(option, "comment=") || strings.HasPrefix(option, "x-")
}

// ParseMount reads the arguments of mount, without the program's name.
func ParseMount(args []string) (Request, error) {
	var (
		r       Request
		rest    []string
		options []string
	)
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		name, value, takesValue, err := flagOf(a)
		if err != nil {
			return r, err
		}
		if takesValue && value == "" {
			if i++; i == len(args) {
				return r, fmt.Errorf("option %s needs a value", a)
			}
			value = args[i]
		}
		switch name {
		case "":
			rest = append(rest, a)
		case "type":
			r.Type = value
		case "options":
			options = append(options, splitOptions(value)...)
		case "source":
			rest = append([]string{value}, rest...)
		case "target":
			rest = append(rest, value)
		case "ignore":
		default:
			options = append(options, name)
		}
	}
	if err := r.addOptions(options); err != nil {
		return r, err
	}
	return r, r.setPaths(rest)
}

// flagOf classifies one argument. The name is empty for an operand, "ignore"
// for a flag without effect here, and a mount option for flags that are one.
func flagOf(a string) (name, value string, takesValue bool, err error) {
	if a == "-" || !strings.HasPrefix(a, "-") {
		return "", "", false, nil
	}
	if long, ok := strings.CutPrefix(a, "--"); ok {
		long, value, _ = strings.Cut(long, "=")
		switch long {
		case "types":
			return "type", value, true, nil
		case "options", "source", "target":
			return long, value, true, nil
		case "bind", "rbind":
			return long, "", false, nil
		case "read-only":
			return "ro", "", false, nil
		case "read-write":
			return "rw", "", false, nil
		case "no-canonicalize", "no-mtab", "internal-only", "verbose":
			return "ignore", "", false, nil
		}
		if strings.HasPrefix(long, "make-") {
			return strings.TrimPrefix(long, "make-"), "", false, nil
		}
		return "", "", false, fmt.Errorf("option %s is not supported", a)
	}
	value = a[2:]
	switch a[1] {
	case 't':
		return "type", value, true, nil
	case 'o':
		return "options", value, true, nil
	}
	if value != "" {
		return "", "", false, fmt.Errorf("option %s is not supported: give short options apart", a)
	}
	switch a[1] {
	case 'B':
		return "bind", "", false, nil
	case 'R':
		return "rbind", "", false, nil
	case 'r':
		return "ro", "", false, nil
	case 'w':
		return "rw", "", false, nil
	case 'n', 'i', 'c', 'v':
		return "ignore", "", false, nil
	}
	return "", "", false, fmt.Errorf("option %s is not supported", a)
}

// splitOptions splits at commas outside of double quotes, which SELinux
// contexts come in.
func splitOptions(s string) []string {
	quoted := false
	return strings.FieldsFunc(s, func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return c == ',' && !quoted
	})
}

func (r *Request) addOptions(options []string) error {
	flags, propagation := flagOptions(), propagationOptions()
	for _, o := range options {
		if f, ok := flags[o]; ok {
			if f.clear {
				r.Clear |= f.flag
				r.Set &^= f.flag
			} else {
				r.Set |= f.flag
				r.Clear &^= f.flag
			}
			continue
		}
		if p, ok := propagation[o]; ok {
			r.Propagation = append(r.Propagation, p)
			continue
		}
		if o == "loop" || strings.HasPrefix(o, "loop=") {
			return errors.New("option loop is not supported: attach the loop device first")
		}
		if !ignored(o) {
			r.Data = append(r.Data, o)
		}
	}
	return nil
}

func (r *Request) setPaths(rest []string) error {
	switch {
	case len(rest) == 2:
		r.Source, r.Target = rest[0], rest[1]
	case len(rest) == 1 && (r.Set&unix.MS_REMOUNT != 0 || len(r.Propagation) > 0 && r.Set == 0):
		r.Target = rest[0]
	default:
		return fmt.Errorf("need a source and a target, have %d operands %q", len(rest), rest)
	}
	return nil
}
