// Command k3sbuild builds the Kubernetes of a node outside of an image.
//
//	k3sbuild [-arch amd64] [-o folder] build           k3s and rt, linked into folder
//	k3sbuild [-arch amd64] [-o folder] rt              rt alone
//	k3sbuild test                                      vet and test rootfs/k3s and rootfs/k3s/rt
//	k3sbuild prepare FOLDER                            the patched source trees, for tests and editors
//
// Run it in the repository's root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"

	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/rootfs/k3sbuild"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "k3sbuild:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var opts k3sbuild.Options
	arch := flag.String("arch", runtime.GOARCH, "amd64 or arm64")
	out := flag.String("o", "out/k3s", "folder for the programs")
	flag.BoolVar(&opts.Inline, "inline", false, "let the compiler inline everywhere")
	flag.Parse()
	switch {
	case flag.NArg() == 1 && flag.Arg(0) == "build":
		k3s, rt, err := k3sbuild.Build(ctx, ".", *arch, opts)
		if err != nil {
			return err
		}
		return place(*out, k3s, rt)
	case flag.NArg() == 1 && flag.Arg(0) == "rt":
		rt, err := k3sbuild.BuildRT(ctx, ".", *arch)
		if err != nil {
			return err
		}
		return place(*out, rt)
	case flag.NArg() == 1 && flag.Arg(0) == "test":
		return k3sbuild.Test(ctx, ".", os.Stdout)
	case flag.NArg() == 2 && flag.Arg(0) == "prepare":
		return k3sbuild.Prepare(ctx, ".", flag.Arg(1), opts)
	}
	return errors.New("usage: k3sbuild [-arch A] [-inline] [-o folder] build | rt | test | prepare FOLDER")
}

// place links the programs into folder and prints what they are.
func place(folder string, programs ...component.Component) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		to := filepath.Join(folder, p.Name)
		if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(p.File, to); err != nil {
			return err
		}
		fmt.Printf("%s %s %d bytes sha256:%s\n", to, p.Version, p.RawSize, p.SHA256)
	}
	return nil
}
