// Command debian-lock keeps the lock file of the Debian packages that the
// build uses.
//
//	debian-lock bump [package...]   pin the newest versions
//	debian-lock fetch [package...]  bring the pinned files into the build cache
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/digital-mycelium/os/image/debian"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "debian-lock:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: debian-lock bump|fetch [package...] (in the repository's root)")
	}
	lock, err := debian.Load(debian.LockPath)
	if err != nil {
		return err
	}
	switch args[0] {
	case "bump":
		return bump(ctx, lock, args[1:])
	case "fetch":
		return fetch(ctx, lock, args[1:])
	}
	return fmt.Errorf("unknown command %q: bump or fetch", args[0])
}

func bump(ctx context.Context, lock *debian.Lock, names []string) error {
	changes, err := lock.Bump(ctx, names...)
	if err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Println(c)
	}
	if len(changes) == 0 {
		fmt.Println("everything is at its newest version")
	}
	return lock.Save(debian.LockPath)
}

func fetch(ctx context.Context, lock *debian.Lock, names []string) error {
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	for _, p := range lock.Packages {
		if len(wanted) > 0 && !wanted[p.Name] {
			continue
		}
		if err := fetchOne(ctx, lock, p); err != nil {
			return err
		}
		fmt.Printf("%s %s\n", p, p.Version)
	}
	return nil
}

func fetchOne(ctx context.Context, lock *debian.Lock, p debian.Package) error {
	if p.Arch == debian.SourceArch {
		_, _, err := lock.FetchSource(ctx, p.Name)
		return err
	}
	_, _, err := lock.Fetch(ctx, p.Name, p.Arch)
	return err
}
