// Command mycelium is the operator's command line of Digital Mycelium OS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newRootCommand().ExecuteContext(ctx)
	if err == nil {
		return
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "mycelium: interrupted")
		os.Exit(130)
	}
	fmt.Fprintf(os.Stderr, "mycelium: %v\n", err)
	os.Exit(1)
}
