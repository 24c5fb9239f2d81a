// Package pause builds the program that holds a Pod's namespaces open, and
// the image that it comes in.
package pause

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/image/oci"
)

// Image is the name that containerd knows the image by, and Version its tag.
const (
	Image   = "mycelium.os/pause:" + Version
	Version = "1"
)

//go:embed src/pause.c
var source []byte

// compilers are the C compilers by Go's name of the architecture, with the
// Debian package that holds them.
var compilers = map[string]struct{ name, pkg string }{
	"amd64": {"x86_64-linux-gnu-gcc", "gcc"},
	"arm64": {"aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"},
}

// Program compiles the program for arch.
func Program(ctx context.Context, arch string) ([]byte, error) {
	cc, ok := compilers[arch]
	if !ok {
		return nil, fmt.Errorf("build pause: no compiler is known for %q", arch)
	}
	dir, err := os.MkdirTemp("", "pause")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "pause")
	cmd := exec.CommandContext(ctx, cc.name, "-xc", "-", "-o", out,
		"-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-stack-protector",
		"-fno-asynchronous-unwind-tables", "-fno-ident", "-mgeneral-regs-only", "-fno-pie", "-fcf-protection=none",
		"-nostdlib", "-static", "-no-pie", "-s",
		"-Wl,--build-id=none,-z,noseparate-code,-z,noexecstack,-n")
	if arch != "amd64" {
		cmd.Args = drop(cmd.Args, "-fcf-protection=none")
	}
	cmd.Stdin = bytes.NewReader(source)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build pause: %s (package %s): %w\n%s", cc.name, cc.pkg, err, msg)
	}
	return os.ReadFile(out)
}

func drop(args []string, arg string) []string {
	kept := make([]string, 0, len(args))
	for _, a := range args {
		if a != arg {
			kept = append(kept, a)
		}
	}
	return kept
}

// Archive builds the image for arch, to be imported by containerd. Its time is
// the beginning of the epoch, so that its bytes change with the program alone.
func Archive(ctx context.Context, arch string) ([]byte, error) {
	program, err := Program(ctx, arch)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = oci.Write(&b, oci.Image{
		Name: Image, Arch: arch, Program: program, Path: "/pause", User: "65535:65535", Created: time.Unix(0, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("pack the pause image: %w", err)
	}
	return b.Bytes(), nil
}
