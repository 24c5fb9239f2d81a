package image

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/board"
)

// idblockTag is what the boot ROM of Rockchip's processors looks for: the tag
// 0x0ff0aa55 as it stands on a disk, encrypted by RC4 with the key that all have
// (U-Boot, tools/rkcommon.c: rkcommon_init and RK_MAGIC).
const idblockTag = "\x3b\x8c\xdc\xfc"

// fitMagic begins a flattened device tree, which a FIT image is.
const fitMagic = 0xd00dfeed

// TestUBootParts holds U-Boot's parts of every variant against what the programs
// before them look for.
func TestUBootParts(t *testing.T) {
	b, err := board.Load("rockchip")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range b.Firmware.UBoot.VariantNames() {
		builder := &builder{repo: "..", board: b, variant: name}
		cs, err := builder.fetchUBoot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		placed := builder.placedUBoot(cs)
		if len(placed) != 2 || placed[0].Sector != 64 || placed[1].Sector != 16384 {
			t.Fatalf("%s: %+v", name, placed)
		}
		first, second := read(t, placed[0].Path), read(t, placed[1].Path)
		if !strings.HasPrefix(string(first), idblockTag) {
			t.Errorf("%s: the first part begins with %x", name, first[:4])
		}
		if got := binary.BigEndian.Uint32(second); got != fitMagic {
			t.Errorf("%s: the second part begins with %#x", name, got)
		}
		if int64(len(first)) > (16384-64)*512 || int64(len(second)) > b.Disk.StartMiB<<20-16384*512 {
			t.Errorf("%s: %d and %d bytes do not fit before the partitions", name, len(first), len(second))
		}
		for _, c := range cs {
			if c.SHA256 == "" || c.RawSize == 0 || c.Version == "" {
				t.Errorf("%s: the bill of materials would lack something: %+v", name, c)
			}
		}
	}
	for _, tt := range []struct{ board, variant string }{{"rockchip", "toaster"}, {"qemu-amd64", "rock64"}} {
		b, err := board.Load(tt.board)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&builder{board: b, variant: tt.variant}).checkVariant(); err == nil {
			t.Errorf("%s: variant %s was accepted", tt.board, tt.variant)
		}
	}
}
