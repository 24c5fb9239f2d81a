// Command hello is the demo workload: a web server that says where it runs, and
// the small commands that a test wants from a container without a shell.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// command is one of the program's commands.
type command struct {
	name string
	// args names its arguments, for the usage text; all are required.
	args string
	help string
	run  func(ctx context.Context, out io.Writer, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "", "serve HTTP on $ADDRESS, default :8080 (what the program does without arguments)", serve},
		{"get", "URL", "fetch URL and write the answer", get},
		{"sleep", "", "wait for SIGTERM", sleep},
		{"alloc", "MIB", "take and touch MIB of memory, then wait for SIGTERM", alloc},
		{"write", "PATH MIB", "write MIB of data to PATH and sync it", write},
		{"cat", "PATH", "write the file PATH", cat},
		{"env", "", "write the environment", env},
		{"exit", "STATUS", "exit with STATUS", nil}, // handled by run, which alone decides on the status
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	status := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(status)
}

// run executes the command line and returns the exit status.
func run(ctx context.Context, out, errOut io.Writer, args []string) int {
	if len(args) == 0 {
		args = []string{"serve"}
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if i < 0 || len(args)-1 != len(strings.Fields(all[i].args)) {
		usage(errOut, all)
		return 2
	}
	if args[0] == "exit" {
		status, err := number(args[1], 255)
		if err != nil {
			fmt.Fprintf(errOut, "hello exit: %v\n", err)
			return 2
		}
		return status
	}
	err := all[i].run(ctx, out, args[1:])
	if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		fmt.Fprintf(errOut, "hello %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

func usage(w io.Writer, all []command) {
	fmt.Fprintln(w, "usage: hello [COMMAND]")
	for _, c := range all {
		fmt.Fprintf(w, "  %-16s %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
	}
}
