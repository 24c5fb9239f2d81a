package disk

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// TestBIOS follows the boot code of a board that starts by BIOS too from sector to sector.
func TestBIOS(t *testing.T) {
	s := specOf(t, "pc")
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := Write(path, s); err != nil {
		t.Fatal(err)
	}
	tool(t, "gdisk", "sgdisk", "--verify", path)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table, err := gpt.Read(bytes.NewReader(image), int64(len(image)))
	if err != nil || table.Damage != nil {
		t.Fatalf("%v, %v", err, table.Damage)
	}
	p := table.Partitions[0]
	if p.Type != gpt.BIOSBoot {
		t.Fatalf("the first partition is %s", p.Type)
	}
	if image[446] != 0x80 || image[450] != 0xee || image[510] != 0x55 || image[511] != 0xaa {
		t.Errorf("the first sector ends with % x", image[440:512])
	}
	le := binary.LittleEndian
	if got := le.Uint64(image[0x5c:]); got != p.First {
		t.Errorf("the boot code goes on at sector %d, the partition begins at %d", got, p.First)
	}
	core := image[table.Offset(p):][:table.Bytes(p)]
	at, n := le.Uint64(core[0x1f4:]), uint64(le.Uint16(core[0x1fc:]))
	if at != p.First+1 || n == 0 || at+n-1 > p.Last {
		t.Errorf("the core image goes on at sector %d, %d of them, in %d to %d", at, n, p.First, p.Last)
	}
	for _, p := range table.Partitions {
		if p.Type != gpt.ESP && p.Type != gpt.XBOOTLDR && p.Type != gpt.Slot {
			continue
		}
		part := filepath.Join(t.TempDir(), p.Name)
		if err := os.WriteFile(part, image[table.Offset(p):][:table.Bytes(p)], 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "dosfstools", "fsck.vfat", "-n", part)
		if p.Type == gpt.ESP {
			want(t, part, grub.EnvironmentFile, grub.Environment(s.Board))
		}
	}
}
