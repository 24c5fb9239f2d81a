package disk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

func testSpec(t *testing.T) Spec { return specOf(t, "qemu-amd64") }

func specOf(t *testing.T, name string) Spec {
	t.Helper()
	b, err := board.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range b.Disk.Partitions {
		if p.Type != "bios" {
			b.Disk.Partitions[i].SizeMiB = 40 // FAT32 still
		}
	}
	dir := t.TempDir()
	s := Spec{Board: b, OSFile: filepath.Join(dir, "os.efi"), Boot: filepath.Join(dir, "boot"), Time: time.Unix(1_700_000_000, 0)}
	loaders := Loaders{EFI: filepath.Join(dir, "loader")}
	for path, content := range map[string][]byte{s.OSFile: bytes.Repeat([]byte("os"), 1<<20), loaders.EFI: []byte("loader")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b.Firmware.BIOS != nil {
		c, err := grub.Build(t.Context(), "../..", b)
		if err != nil {
			t.Fatal(err)
		}
		loaders.GRUB = c.File
	}
	names, err := WriteBoot(s.Boot, b, loaders)
	if err != nil || !strings.HasPrefix(strings.Join(names, " "), "layout.json mycelium.yaml "+b.Firmware.EFI.Loader.Install+" loader/loader.conf") {
		t.Fatalf("boot files %q, %v", names, err)
	}
	return s
}

func TestWrite(t *testing.T) {
	s := testSpec(t)
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := Write(path, s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if used := st.Sys().(*syscall.Stat_t).Blocks * 512; used > 8<<20 {
		t.Errorf("the image takes %d bytes: it is not sparse", used)
	}
	table, err := gpt.Read(f, st.Size())
	if err != nil || table.Damage != nil {
		t.Fatalf("%v, %+v", err, table)
	}
	tool(t, "gdisk", "sgdisk", "--verify", path)
	for _, p := range table.Partitions {
		part := filepath.Join(t.TempDir(), p.Name)
		cut(t, f, part, table.Offset(p), table.Bytes(p))
		switch p.Type {
		case gpt.State:
			// Who writes an image over a disk, without its holes, must not get the old STATE.
			if b, err := os.ReadFile(part); err != nil || string(bytes.TrimRight(b, "\x00")) != disklayout.EmptyMarker {
				t.Errorf("STATE is not marked as empty (%v)", err)
			}
			continue
		case gpt.ESP:
			want(t, part, "EFI/BOOT/BOOTX64.EFI", []byte("loader"))
			want(t, part, "loader/loader.conf", LoaderConf)
			want(t, part, "mycelium.yaml", ExampleConfig)
		case gpt.XBOOTLDR:
			want(t, part, disklayout.OSFile, bytes.Repeat([]byte("os"), 1<<20))
		}
		tool(t, "dosfstools", "fsck.vfat", "-n", part)
	}
}

// TestOwnConfig: an image with a configuration of its own differs in that file
// alone, and others cannot read it.
func TestOwnConfig(t *testing.T) {
	s := testSpec(t)
	s.Config = []byte("apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: kitchen\n")
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := Write(path, s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	table, err := gpt.Read(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Partitions {
		part := filepath.Join(t.TempDir(), p.Name)
		switch p.Type {
		case gpt.ESP:
			cut(t, f, part, table.Offset(p), table.Bytes(p))
			want(t, part, "mycelium.yaml", s.Config)
		case gpt.XBOOTLDR:
			cut(t, f, part, table.Offset(p), table.Bytes(p))
			want(t, part, disklayout.OSFile, bytes.Repeat([]byte("os"), 1<<20))
		}
	}
}

func cut(t *testing.T, f *os.File, to string, offset, size int64) {
	t.Helper()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, fat, name string, content []byte) {
	t.Helper()
	if got := tool(t, "mtools", "mtype", "-i", fat, "::"+name); !bytes.Equal(got, content) {
		t.Errorf("%s has %d bytes, want %d", name, len(got), len(content))
	}
}

func tool(t *testing.T, pkg, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func TestSameBytes(t *testing.T) {
	s := testSpec(t)
	var images [2][]byte
	for i := range images {
		path := filepath.Join(t.TempDir(), "disk.img")
		if err := Write(path, s); err != nil {
			t.Fatal(err)
		}
		var err error
		if images[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one OS file differ")
	}
}

// TestErrors expects no half image to stay behind.
func TestErrors(t *testing.T) {
	s := testSpec(t)
	dir := t.TempDir()
	if err := os.Remove(filepath.Join(s.Boot, "loader", "loader.conf")); err != nil {
		t.Fatal(err)
	}
	err := Write(filepath.Join(dir, "disk.img"), s)
	if err == nil || !strings.Contains(err.Error(), "partition EFI") {
		t.Errorf("error %v does not name the partition", err)
	}
	if _, err := WriteBoot(t.TempDir(), s.Board, Loaders{EFI: s.OSFile + "-absent"}); err == nil {
		t.Error("no error without a boot loader")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestExampleConfig parses the example as it is and with every setting
// uncommented: what it suggests must be right.
func TestExampleConfig(t *testing.T) {
	if _, err := config.Parse(ExampleConfig); err != nil {
		t.Error(err)
	}
	all := regexp.MustCompile(`(?m)^#(\w|  )`).ReplaceAll(ExampleConfig, []byte("$1"))
	c, err := config.Parse(all)
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	if c.Hostname == "" || len(c.Network.Interfaces) == 0 || len(c.Time.Servers) == 0 || len(c.Kubernetes.Labels) == 0 || !c.Install.Live {
		t.Errorf("not everything was uncommented: %+v", c)
	}
}
