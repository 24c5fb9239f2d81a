package initramfs

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestFirmware takes the archive between /init and the root apart.
func TestFirmware(t *testing.T) {
	c, _, root := testConfig(t)
	c.Firmware = []Firmware{
		{Name: "b/card-2.bin", Data: []byte("one"), Fixed: true},
		{Name: "a.bin", Data: []byte("one")},
		{Name: "b/card-1.bin", Data: []byte("two"), Fixed: true},
	}
	got, err := Build(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	packed := got.Data[got.InitSize : got.InitSize+got.FirmwareSize]
	archive := run(t, packed, "xz", "--decompress", "--stdout")
	list := string(run(t, archive, "cpio", "--list", "--quiet", "--verbose"))
	for _, want := range []string{" lib\n", " lib/firmware/b\n", " lib/firmware/a.bin\n", " lib/firmware/b/card-2.bin -> ../a.bin\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	for name, want := range map[string]string{"b/card-1.bin": "two", FixedList: "b/card-1.bin\nb/card-2.bin\n"} {
		if b := run(t, archive, "cpio", "--extract", "--to-stdout", "--quiet", "lib/firmware/"+name); string(b) != want {
			t.Errorf("%s: %q", name, b)
		}
	}
	at := (got.InitSize + got.FirmwareSize + 3) / 4 * 4
	if b := run(t, got.Data[at:], "cpio", "--extract", "--to-stdout", "--quiet", "root.img"); !bytes.Equal(b, root) {
		t.Errorf("/root.img has %d bytes, want %d", len(b), len(root))
	}
	for _, name := range []string{"../x", "/x", "", ".", FixedList, "a.bin"} {
		bad := c
		bad.Firmware = append(bad.Firmware[:len(bad.Firmware):len(bad.Firmware)], Firmware{Name: name})
		if _, err := Build(context.Background(), bad); err == nil {
			t.Errorf("%q is packed", name)
		}
	}
}
