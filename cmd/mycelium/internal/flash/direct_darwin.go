package flash

import (
	"os"

	"golang.org/x/sys/unix"
)

// setDirect switches the page cache off or on and reports whether it is off.
func setDirect(f *os.File, on bool) bool {
	arg := 0
	if on {
		arg = 1
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_NOCACHE, arg)
	return err == nil && on
}

// dropCache does nothing: macOS has no call for it.
func dropCache(*os.File) {}
