// Package boards checks the images of all boards, as `make image BOARD=all` leaves them,
// with the field's own tools.
package boards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// out is where the images are.
const out = "../../out"

const sectorSize = 512

// partition is what sfdisk says of one.
type partition struct {
	Start, Size int64 // sectors
	Type        string
}

func TestImages(t *testing.T) {
	for _, name := range board.Names() {
		t.Run(name, func(t *testing.T) {
			b, err := board.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(out, name)
			disk := filepath.Join(dir, image.DiskImage)
			if _, err := os.Stat(filepath.Join(dir, image.Checksums)); err != nil {
				t.Fatalf("%v: build it with: make image BOARD=all", err)
			}
			checkSizes(t, b, dir)
			run(t, "coreutils", "sh", "-c", fmt.Sprintf("cd %q && sha256sum --check --quiet %s", dir, image.Checksums))
			run(t, "fdisk", "sfdisk", "--verify", disk)
			if b.Firmware.EFI != nil {
				checkSignable(t, b, dir, disk)
				if said := run(t, "gdisk", "sgdisk", "--verify", disk); !strings.Contains(said, "No problems found") {
					t.Errorf("sgdisk: %s", said)
				}
			}
			fats := 0
			for _, p := range partitions(t, disk) {
				if !isFAT(p.Type) {
					continue
				}
				fats++
				part := filepath.Join(t.TempDir(), "part")
				run(t, "coreutils", "dd", "if="+disk, "of="+part, "bs=1M", "conv=sparse", "status=none", "iflag=skip_bytes,count_bytes",
					"skip="+strconv.FormatInt(p.Start*sectorSize, 10), "count="+strconv.FormatInt(p.Size*sectorSize, 10))
				run(t, "dosfstools", "fsck.vfat", "-n", part)
			}
			if fats != 3 {
				t.Errorf("%d FAT partitions, want the first one and two slots", fats)
			}
		})
	}
}

// checkSignable wants sbverify to find nothing in what a firmware with Secure Boot would
// look at: headers and sections without gaps, and no signature, since none was asked for.
func checkSignable(t *testing.T, b *board.Board, dir, disk string) {
	t.Helper()
	loader := filepath.Join(t.TempDir(), "loader.efi")
	for _, p := range partitions(t, disk) {
		if strings.EqualFold(p.Type, gpt.ESP.String()) {
			run(t, "mtools", "mcopy", "-i", fmt.Sprintf("%s@@%d", disk, p.Start*sectorSize), "::"+b.Firmware.EFI.Loader.Install, loader)
		}
	}
	for _, file := range []string{filepath.Join(dir, image.OSFile), loader} {
		if said := strings.TrimSpace(run(t, "sbsigntool", "sbverify", "--list", file)); said != "No signature table present" {
			t.Errorf("sbverify --list %s: %s", filepath.Base(file), said)
		}
	}
}

// TestSameBytes: each board built again, into another directory, gives the same files,
// byte for byte. What takes long comes out of the build cache, and is what that keeps by
// its inputs; everything else is made anew. The commit must be the one that the
// images were made from.
func TestSameBytes(t *testing.T) {
	root, err := image.RepoRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range board.Names() {
		t.Run(name, func(t *testing.T) {
			first, again := filepath.Join(out, name), filepath.Join(t.TempDir(), "again")
			var log strings.Builder
			if _, err := image.Build(t.Context(), image.Options{RepoRoot: root, Board: name, Out: again, Log: &log, Compress: true}); err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			want := []string{image.BlockMap, image.Checksums, image.Compressed, image.DiskImage, image.Manifest, image.OSFile}
			slices.Sort(want)
			if got := files(t, again); !slices.Equal(got, want) {
				t.Errorf("files %v, want %v", got, want)
			}
			for _, f := range want {
				if at := differ(t, filepath.Join(first, f), filepath.Join(again, f)); at >= 0 {
					t.Errorf("%s differs from byte %d on; was %s made from this commit? (make image BOARD=all)", f, at, first)
				}
			}
		})
	}
}

// files are the names of a directory's files, sorted.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// differ returns where two files are not the same, -1 when they are.
func differ(t *testing.T, a, b string) int64 {
	t.Helper()
	var fs [2]*os.File
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fs[i] = f
	}
	const block = 1 << 20
	bufs := [2][]byte{make([]byte, block), make([]byte, block)}
	for at := int64(0); ; at += block {
		var n [2]int
		for i, f := range fs {
			var err error
			if n[i], err = f.ReadAt(bufs[i], at); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		x, y := bufs[0][:n[0]], bufs[1][:n[1]]
		if !bytes.Equal(x, y) {
			i := 0
			for i < min(len(x), len(y)) && x[i] == y[i] {
				i++
			}
			return at + int64(i)
		}
		if len(x) < block {
			return -1
		}
	}
}

// checkSizes compares the OS file with its limit, and the compressed disk with it.
func checkSizes(t *testing.T, b *board.Board, dir string) {
	t.Helper()
	size := map[string]int64{}
	for _, name := range []string{image.OSFile, image.Compressed} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		size[name] = st.Size()
	}
	t.Logf("OS file %.2f MiB, compressed disk %.2f MiB", float64(size[image.OSFile])/(1<<20), float64(size[image.Compressed])/(1<<20))
	if limit := b.OSFile.LimitMiB << 20; size[image.OSFile] > limit {
		t.Errorf("the OS file has %d bytes, the limit is %d", size[image.OSFile], limit)
	}
	// What stands before the slots of a board without a firmware of its own comes on top.
	if limit := size[image.OSFile] + 2<<20; size[image.Compressed] > limit && b.Firmware.RaspberryPi == nil && b.Firmware.UBoot == nil {
		t.Errorf("the compressed disk has %d bytes, more than 2 MiB above the OS file's", size[image.Compressed])
	}
}

func partitions(t *testing.T, disk string) []partition {
	t.Helper()
	var table struct {
		PartitionTable struct{ Partitions []partition }
	}
	if err := json.Unmarshal([]byte(run(t, "fdisk", "sfdisk", "--json", disk)), &table); err != nil {
		t.Fatal(err)
	}
	return table.PartitionTable.Partitions
}

// isFAT knows the types of partitions that firmwares and boot loaders read: in a GPT those
// of EFI, XBOOTLDR and the idle slot, in an MBR FAT32's.
func isFAT(typ string) bool {
	switch strings.ToLower(typ) {
	case "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "bc13c2ff-59e6-4262-a352-b275fd6f7172", "5f0c6d1e-9a3b-4c57-8e42-7d1b0a94c3e1", "c":
		return true
	}
	return false
}

// run returns what a tool of a Debian package prints.
func run(t *testing.T, pkg, tool string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
	said, err := exec.CommandContext(context.WithoutCancel(t.Context()), tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, said)
	}
	return string(said)
}
