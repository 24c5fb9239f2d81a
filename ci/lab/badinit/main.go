// Command badinit stands in for /init in operating systems that are made to fail.
// Words of the kernel's command line that the kernel does not know reach it as
// environment variables: badinit=exit ends it, badinit=hang lets it stand still with the
// hardware watchdog armed, as an init does that hangs after its first steps.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	fmt.Println("badinit:", os.Getenv("badinit"))
	if os.Getenv("badinit") != "hang" {
		os.Exit(1)
	}
	if err := unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		fmt.Println("badinit: /dev:", err)
	}
	if f, err := os.OpenFile("/dev/watchdog0", os.O_WRONLY, 0); err != nil {
		fmt.Println("badinit: watchdog:", err)
	} else if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, 10); err != nil {
		fmt.Println("badinit: watchdog:", err)
	}
	for {
		time.Sleep(time.Hour)
	}
}
