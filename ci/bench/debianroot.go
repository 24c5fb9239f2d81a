package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/digital-mycelium/os/image/cache"
)

// debianSuite is the release that a user would install.
const debianSuite = "bookworm"

// debianPackages stand in the baseline besides the essential ones. It is less
// than Debian's installer puts on a machine: no apt-listchanges, no exim, no
// SSH server, no task packages.
var debianPackages = []string{
	"systemd-sysv", "udev", "kmod", "dbus", // init and devices
	"linux-image-amd64", "initramfs-tools", "zstd", "systemd-boot-efi", // what the installer's kernel task gives
	"iproute2", "iptables", "ipset", "ca-certificates", "curl", "procps", // what K3s and its install script ask for
}

// buildDebianRoot returns the path of a tar archive with a minimal Debian. It
// is cached for the month: packages come from the machine's own apt sources.
func buildDebianRoot(ctx context.Context) (string, error) {
	key := cache.NewKey("bench-debian-root", 1).
		Add("suite", debianSuite).
		Add("packages", strings.Join(debianPackages, " ")).
		Add("month", time.Now().UTC().Format("2006-01"))
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		return run(ctx, "", "mmdebstrap", "--quiet", "--variant=minbase",
			"--include="+strings.Join(debianPackages, ","),
			"--dpkgopt=force-unsafe-io",
			debianSuite, filepath.Join(dir, "root.tar"))
	})
	if err != nil {
		return "", fmt.Errorf("build the Debian root: %w", err)
	}
	return filepath.Join(dir, "root.tar"), nil
}

// run executes a program in dir and shows its output only when it fails.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w (apt-get install mmdebstrap e2fsprogs zstd tar)", err)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out, 4000))
	}
	return nil
}

// tail returns the last n bytes of out as text.
func tail(out []byte, n int) string {
	if len(out) > n {
		out = out[len(out)-n:]
	}
	return strings.TrimSpace(string(out))
}
