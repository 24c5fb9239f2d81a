// Command bump-k3s moves the repository to another version of K3s, or says
// which patches no longer apply to it.
//
//	bump-k3s [-kubernetes v1.35.1-k3s1] VERSION
//
// VERSION is one of the Go module github.com/k3s-io/k3s. Run it in the
// repository's root, then build, run the conformance tests and commit. The
// forks of k3s-io are not in Go's checksum database: with them, set
// GONOSUMDB=github.com/k3s-io/*; go.sum pins what was seen first.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/digital-mycelium/os/rootfs/k3sbuild"
)

func main() {
	var o k3sbuild.BumpOptions
	flag.StringVar(&o.Kubernetes, "kubernetes", "", "version of K3s' fork of Kubernetes, instead of the one that K3s asks for")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: bump-k3s [-kubernetes VERSION] VERSION")
		os.Exit(2)
	}
	o.K3s = flag.Arg(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	lines, err := k3sbuild.Bump(ctx, ".", o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bump-k3s:", err)
		os.Exit(1)
	}
	for _, l := range lines {
		fmt.Println(l)
	}
	if len(lines) == 0 {
		fmt.Println("the versions were there already; every patch applies")
	}
}
