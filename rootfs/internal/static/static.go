// Package static knows how the root's C programs are compiled: by the build machine's
// compiler, for every architecture, and linked with the pinned packages' static
// libraries alone. The C library comes whole from its package too, so that a program does
// not depend on the build machine's.
package static

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/digital-mycelium/os/image/cache"
)

// triplets are Debian's names for the architectures.
var triplets = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// Toolchain compiles for one architecture.
type Toolchain struct {
	// Triplet is Debian's name of the architecture, Compiler the C compiler for it.
	Triplet, Compiler string
}

// For returns the toolchain for arch ("amd64", "arm64").
func For(arch string) (Toolchain, error) {
	triplet, ok := triplets[arch]
	if !ok {
		return Toolchain{}, fmt.Errorf("architecture %q is not known", arch)
	}
	t := Toolchain{Triplet: triplet, Compiler: "gcc"}
	if arch != runtime.GOARCH {
		t.Compiler = triplet + "-gcc"
	}
	return t, nil
}

// AddTo adds the compiler's version to the key of what it compiles.
func (t Toolchain) AddTo(ctx context.Context, key *cache.Key) error {
	out, err := exec.CommandContext(ctx, t.Compiler, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version (`make deps` installs it): %w", t.Compiler, err)
	}
	key.Add("compiler", string(out))
	return nil
}

// Lib is where an unpacked package has the architecture's libraries.
func (t Toolchain) Lib(dir string) string { return filepath.Join(dir, "usr/lib", t.Triplet) }

// Flags are the linker's.
func Flags() []string {
	return []string{
		"-static", "-no-pie", "-nostartfiles", "-nodefaultlibs", "-s",
		"-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,-z,norelro",
	}
}

// Begin is what a program is linked with before its own objects, End what comes after
// them and the libraries. libc is the Lib of package libc6-dev.
func Begin(libc string) []string {
	return []string{filepath.Join(libc, "crt1.o"), filepath.Join(libc, "crti.o")}
}

// End is Begin's other half.
func End(libc string) []string {
	return []string{"-Wl,--start-group", filepath.Join(libc, "libc.a"), "-lgcc", "-lgcc_eh", "-Wl,--end-group", filepath.Join(libc, "crtn.o")}
}
