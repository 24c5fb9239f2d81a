package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// filters are the branch filters that mksquashfs and the kernel's decoder have
// in common, by Go's name of the architecture. mksquashfs knows none for arm64;
// its "arm" is for 32-bit code, and the boards' kernels cannot undo it.
var filters = map[string]string{"amd64": "x86"}

// PackVersion changes when Pack packs the same tree differently.
const PackVersion = 1

// blockSize is the unit of compression in bytes.
const blockSize = 1 << 20

// Pack writes t to path as a squashfs compressed with xz. The same tree gives
// the same bytes with the same version of mksquashfs, whatever the number of
// processors.
func Pack(ctx context.Context, t *Tree, arch, path string) error {
	args := []string{
		"-", path, "-tar", "-noappend", "-reproducible", "-mkfs-time", "0", "-all-time", "0",
		"-all-root", "-no-exports", "-no-xattrs", "-no-fragments", "-noI", "-no-progress", "-quiet",
		"-root-mode", "0755",
		"-comp", "xz", "-b", fmt.Sprint(blockSize), "-Xdict-size", "100%",
	}
	if f := filters[arch]; f != "" {
		args = append(args, "-Xbcj", f)
	}
	cmd := exec.CommandContext(ctx, "mksquashfs", args...)
	cmd.Env = withoutSourceDate(os.Environ())
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &msg, &msg
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start mksquashfs (package squashfs-tools): %w", err)
	}
	tarErr := errors.Join(t.WriteTar(in), in.Close())
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("mksquashfs: %w: %s", err, bytes.TrimSpace(msg.Bytes()))
	}
	if tarErr != nil && !errors.Is(tarErr, io.ErrClosedPipe) {
		return tarErr
	}
	return os.Chmod(path, 0o644)
}

// withoutSourceDate returns env without SOURCE_DATE_EPOCH, which mksquashfs
// refuses beside an explicit time.
func withoutSourceDate(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if !bytes.HasPrefix([]byte(e), []byte("SOURCE_DATE_EPOCH=")) {
			kept = append(kept, e)
		}
	}
	return kept
}
