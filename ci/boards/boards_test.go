// Package boards checks the images of all boards, as `make image BOARD=all` leaves them,
// with the field's own tools.
package boards

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
