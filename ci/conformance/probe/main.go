// Probe is the workload of the conformance tests: one static program whose
// subcommands do, inside a container, the one thing that a test wants to see
// allowed, refused, limited or survived. It needs no shell and no libc.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// command is one subcommand; it returns the exit code's error.
type command struct {
	usage string
	run   func(args []string) error
}

func commands() map[string]command {
	return map[string]command{
		"serve":       {"serve PORT [START-DELAY [STOP-DELAY]]: HTTP server, see serve.go", serve},
		"get":         {"get URL [TIMES]: print each body, a line each", get},
		"udp":         {"udp HOST:PORT TEXT: send a datagram, print the answer", udpSend},
		"cat":         {"cat PATH...: print files", cat},
		"write":       {"write PATH TEXT: create or replace a file", write},
		"append":      {"append PATH TEXT: add a line to a file", appendLine},
		"exists":      {"exists PATH: fail unless it is there", exists},
		"stat":        {"stat PATH...: mode, owner, group of each", stat},
		"env":         {"env [NAME...]: print environment variables", env},
		"id":          {"id: user, group, groups", id},
		"lines":       {"lines N: print N numbered lines, even ones to stderr", lines},
		"tick":        {"tick INTERVAL: print a number at each interval", tick},
		"sleep":       {"sleep DURATION", sleep},
		"trap":        {"trap DURATION: at SIGTERM say so, wait, say bye, exit 0", trap},
		"deaf":        {"deaf: ignore SIGTERM for ever", deaf},
		"exit":        {"exit CODE", exit},
		"once":        {"once PATH: fail the first time, succeed when PATH is there", once},
		"alloc":       {"alloc MIB: take memory and keep it", alloc},
		"burn":        {"burn THREADS: use the CPU for ever", burn},
		"threads":     {"threads N: start N threads, end", threads},
		"remove":      {"remove PATH...: delete files", remove},
		"kill":        {"kill NAME: SIGKILL to each process whose executable is named so", killByName},
		"freeze":      {"freeze: stop every thread of PID 1, for ever", freeze},
		"fill":        {"fill PATH MIB: write a file that big (0: until the disk is full) and keep running", fill},
		"accesspoint": {"accesspoint INTERFACE SSID PASSWORD OWN/LENGTH LEASED: be an access point with a DHCP server", accessPoint},
		"syscall":     {"syscall NAME...: try each, print its result", trySyscalls},
	}
}

// path is where the program stands in its image.
const path = "/probe"

func main() {
	// What it tries in a container (mount, set the clock) it must never do to
	// the machine of somebody who starts it by hand.
	if self, err := os.Executable(); err != nil || self != path {
		fmt.Fprintf(os.Stderr, "probe: runs only as %s of its container image\n", path)
		os.Exit(64)
	}
	all := commands()
	if len(os.Args) < 2 || all[os.Args[1]].run == nil {
		names := make([]string, 0, len(all))
		for _, c := range all {
			names = append(names, "  probe "+c.usage)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, strings.Join(names, "\n"))
		os.Exit(64)
	}
	if err := all[os.Args[1]].run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// arg is the i-th argument, or def when there are fewer.
func arg(args []string, i int, def string) string {
	if i < len(args) {
		return args[i]
	}
	return def
}
