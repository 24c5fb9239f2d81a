package main

import (
	"strconv"
	"strings"
	"time"
)

// cmdline holds the parameters on the kernel's command line that are ours:
//
//	mycelium.board=NAME   the board's name, for the status
//	mycelium.panic=N      seconds to wait before the reboot after a fatal failure
//	mycelium.config=URL   fetch the configuration (see source.ParseLocation)
//	mycelium.config=off   ignore every configuration: run with the defaults
//	mycelium.watchdog=off leave the hardware watchdog alone
//	mycelium.live         run from memory, and leave every disk alone
//	mycelium.install=...  do so and install (see install.ParseOrder)
//	mycelium.install.image=URL, mycelium.install.sha256=HEX
//	                      what to install, when that is on no disk
//	mycelium.install.report=URL
//	                      whom to tell how far the installation is
//
// and what a boot loader without EFI variables adds:
//
//	mycelium.slot=NAME         the slot that it started
//	mycelium.partition=GUID    the unique GUID of that slot's partition
type cmdline struct {
	board     string
	panicWait time.Duration
	// configAt is a URL, off or nothing.
	configAt string
	// noWatchdog is for hardware whose watchdog does harm.
	noWatchdog bool

	live    bool
	install installWords
	// slot and partition are what the boot loader has started; empty on UEFI.
	slot, partition string
}

// installWords are the words about an installation, as they stand there.
type installWords struct{ order, image, sha256, report string }

// off is the value of mycelium.config that is no URL, and that of mycelium.watchdog.
const off = "off"

// defaultPanicWait is long enough to read, or to photograph, the screen.
const defaultPanicWait = 10 * time.Second

// parseCmdline reads a kernel command line. What it cannot read it leaves at
// its default: a typing mistake must not keep a machine from booting.
func parseCmdline(s string) cmdline {
	c := cmdline{panicWait: defaultPanicWait}
	for _, word := range strings.Fields(s) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "mycelium.board":
			c.board = value
		case "mycelium.panic":
			if n, err := strconv.ParseUint(value, 10, 16); err == nil {
				c.panicWait = time.Duration(n) * time.Second
			}
		case "mycelium.config":
			c.configAt = value
		case "mycelium.watchdog":
			c.noWatchdog = value == off
		case "mycelium.live":
			c.live = true
		case "mycelium.install":
			c.install.order = value
		case "mycelium.install.image":
			c.install.image = value
		case "mycelium.install.sha256":
			c.install.sha256 = value
		case "mycelium.install.report":
			c.install.report = value
		case "mycelium.slot":
			c.slot = value
		case "mycelium.partition":
			c.partition = value
		}
	}
	return c
}
