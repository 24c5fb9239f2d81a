package image

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/board"
)

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
		for i, part := range [][]byte{first, second} {
			if f := b.Firmware.UBoot.Files[i]; !strings.HasPrefix(hex.EncodeToString(part[:16]), f.Magic) {
				t.Errorf("%s: %s begins with %x, want %s", name, f.Name, part[:4], f.Magic)
			}
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
