package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Unmount is what a command line of umount asks for.
type Unmount struct {
	Targets []string
	// Flags are those of umount2(2).
	Flags int
}

// ParseUmount reads the arguments of umount, without the program's name.
func ParseUmount(args []string) (Unmount, error) {
	var u Unmount
	for i, a := range args {
		switch a {
		case "--":
			u.Targets = append(u.Targets, args[i+1:]...)
			return u, u.check()
		case "-f", "--force":
			u.Flags |= unix.MNT_FORCE
		case "-l", "--lazy":
			u.Flags |= unix.MNT_DETACH
		case "-n", "--no-mtab", "-i", "--internal-only", "-c", "--no-canonicalize", "-v", "--verbose":
		default:
			if strings.HasPrefix(a, "-") {
				return u, fmt.Errorf("option %s is not supported", a)
			}
			u.Targets = append(u.Targets, a)
		}
	}
	return u, u.check()
}

func (u Unmount) check() error {
	if len(u.Targets) == 0 {
		return fmt.Errorf("need a mount point")
	}
	return nil
}
