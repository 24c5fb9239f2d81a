package pi

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/dt"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/board/boardtest"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/mbr"
	"github.com/digital-mycelium/os/pkg/update/tryboot"
)

// newTree returns a device tree that knows its name.
func newTree(t *testing.T, name string) []byte {
	t.Helper()
	tree := &dt.FDT{Header: dt.Header{Magic: dt.Magic, Version: 17, LastCompVersion: 16}, RootNode: dt.NewNode("", dt.WithProperty(dt.PropertyString("model", name)))}
	var b bytes.Buffer
	if _, err := tree.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// newOSFile returns the board's OS file with a kernel and firmware that are none.
func newOSFile(t *testing.T, b *board.Board, version string) []byte {
	t.Helper()
	r := b.Firmware.RaspberryPi
	config, err := os.ReadFile(filepath.Join("../../../board", r.Config))
	if err != nil {
		t.Fatal(err)
	}
	files := []uki.NamedFile{{Name: "config.txt", Content: config}}
	for _, f := range r.Slot {
		files = append(files, uki.NamedFile{Name: f.Install, Content: []byte(f.Path)})
	}
	for _, tree := range b.Kernel.DeviceTrees {
		name := path.Base(tree)
		content := newTree(t, name)
		if other, ok := r.Rename[name]; ok {
			name = other
		}
		files = append(files, uki.NamedFile{Name: name, Content: content})
	}
	data, err := uki.BuildPieces(uki.Piecewise{
		Parts:   uki.Parts{OSRelease: "ID=mycelium\n", CmdLine: b.CommandLine, Uname: version, Linux: []byte("kernel " + version), Initrd: []byte("initramfs " + version)},
		Machine: 0xaa64, Files: files, CmdLineName: "cmdline.txt", InitrdName: r.Initramfs, LinuxName: r.Kernel,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newImage writes a disk image with such an OS file in slot A.
func newImage(t *testing.T) (path string, b *board.Board) {
	t.Helper()
	b, err := board.Load("rpi")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	boardtest.Firmware(t, b, dir)
	osFile := filepath.Join(dir, "os.efi")
	if err := os.WriteFile(osFile, newOSFile(t, b, "1"), 0o644); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "disk.img")
	if err := disk.Write(path, disk.Spec{Board: b, OSFile: osFile, Firmware: dir, Time: time.Unix(1e9, 0)}); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// TestImage: every model finds its files in a disk image, and the field's tools find
// nothing wrong with it.
func TestImage(t *testing.T) {
	path, b := newImage(t)
	want := map[string]string{
		"pi3": "bcm2837-rpi-3-b.dtb", "pi3b+": "bcm2837-rpi-3-b-plus.dtb", "pi3a+": "bcm2837-rpi-3-a-plus.dtb", "zero2w": "bcm2837-rpi-zero-2-w.dtb",
		"pi4": "bcm2711-rpi-4-b.dtb", "pi400": "bcm2711-rpi-400.dtb", "cm4": "bcm2711-rpi-cm4-io.dtb",
		"pi5": "bcm2712-rpi-5-b.dtb", "pi5d0": "bcm2712-d-rpi-5-b.dtb",
	}
	for _, model := range Models() {
		boot, err := Choose(t.Context(), path, model, false)
		if err != nil {
			t.Errorf("%s: %v", model.Name, err)
			continue
		}
		tree, err := dt.ReadFDT(bytes.NewReader(boot.DeviceTree))
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := tree.RootNode.LookProperty("model"); !ok || strings.TrimRight(string(p.Value), "\x00") != want[model.Name] {
			t.Errorf("%s: device tree %+v, want %s", model.Name, p, want[model.Name])
		}
		if boot.Partition != 2 || string(boot.Kernel) != "kernel 1" || string(boot.Initramfs) != "initramfs 1" || boot.CommandLine != b.CommandLine {
			t.Errorf("%s: partition %d, %q, %q, %q", model.Name, boot.Partition, boot.Kernel, boot.Initramfs, boot.CommandLine)
		}
		if boot.Settings["enable_uart"] != "1" {
			t.Errorf("%s: no serial console: %v", model.Name, boot.Settings)
		}
	}
	out, err := exec.Command("sfdisk", "--verify", path).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("No errors detected")) {
		t.Errorf("sfdisk --verify: %v\n%s", err, out)
	}
	d, err := openDisk(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for number := 1; number <= 3; number++ {
		p, err := d.fat(number)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := fsck(t.Context(), path, p); err != nil {
			t.Errorf("partition %d: %v\n%s", number, err, out)
		}
	}
}

// fsck checks the file system of a partition of a disk image.
func fsck(ctx context.Context, path string, p partition) ([]byte, error) {
	copied := path + ".partition"
	defer func() { _ = os.Remove(copied) }()
	out, err := exec.CommandContext(ctx, "dd", "if="+path, "of="+copied, "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes",
		fmt.Sprintf("skip=%d", p.Start*512), fmt.Sprintf("count=%d", p.Size*512)).CombinedOutput()
	if err != nil {
		return out, err
	}
	return exec.CommandContext(ctx, "fsck.vfat", "-n", copied).CombinedOutput()
}

// TestTrial: an update's slot is started once when asked for, and by itself when it is
// committed.
func TestTrial(t *testing.T) {
	path, b := newImage(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := mbr.View(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	starts := func(flag bool, partition int, version string) {
		t.Helper()
		for _, model := range Models() {
			boot, err := Choose(t.Context(), path, model, flag)
			if err != nil {
				t.Fatalf("%s: %v", model.Name, err)
			}
			if boot.Partition != partition || string(boot.Kernel) != "kernel "+version {
				t.Errorf("%s: partition %d, %q, want %d", model.Name, boot.Partition, boot.Kernel, partition)
			}
			if !bytes.Contains(boot.DeviceTree, []byte{0, 0, 0, byte(partition)}) {
				t.Errorf("%s: the kernel is not told", model.Name)
			}
		}
	}
	if _, err := Choose(t.Context(), path, Models()[0], true); err == nil {
		t.Error("an empty slot is started")
	}
	next := newOSFile(t, b, "2")
	for _, p := range table.Partitions {
		if p.Name == "B" {
			if err := disk.Slot(f, table, p).Write(bytes.NewReader(next), int64(len(next))); err != nil {
				t.Fatal(err)
			}
		}
	}
	starts(false, 2, "1")
	starts(true, 3, "2")
	starts(false, 2, "1")
	if err := putFile(t.Context(), path, "autoboot.txt", tryboot.Format(3, 2)); err != nil {
		t.Fatal(err)
	}
	starts(false, 3, "2")
	starts(true, 2, "1")
}
