package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/initramfs"
)

func TestChooseFirmware(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"card-1.ucode", "card-2.ucode", "sub/x.bin", "sub/y.txt"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/x.bin", filepath.Join(dir, "link.bin")); err != nil {
		t.Fatal(err)
	}
	f := board.DriverFirmware{Files: []string{"card-*", "card-2.ucode", "sub/*.bin", "link.bin"}, Rename: map[string]string{"card-1.ucode": "new/name"}, Fixed: true}
	files, err := chooseFirmware(dir, f)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		got[file.Name] = string(file.Data)
		if !file.Fixed {
			t.Errorf("%s is not fixed", file.Name)
		}
	}
	if len(files) != 4 || got["new/name"] != "card-1.ucode" || got["card-2.ucode"] != "card-2.ucode" || got["sub/x.bin"] != "sub/x.bin" || got["link.bin"] != "sub/x.bin" {
		t.Errorf("%q", got)
	}
	f.Files = []string{"card-3*"}
	if _, err := chooseFirmware(dir, f); err == nil || !strings.Contains(err.Error(), "card-3*") {
		t.Errorf("%v", err)
	}
}

// TestBoardFirmware: every pattern of every board matches in the pinned packages, no
// two files are in each other's way, and the licences are there.
func TestBoardFirmware(t *testing.T) {
	for name, want := range map[string][]string{
		"rpi":     {"regulatory.db", "regulatory.db.p7s", "brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt", "LICENCES/firmware-brcm80211"},
		"pc-wifi": {"regulatory.db", "iwlwifi-8265-36.ucode", "ath11k/WCN6855/hw2.1/amss.bin", "rtlwifi/rtl8188eufw.bin", "LICENCES/firmware-iwlwifi"},
		"pc":      nil,
	} {
		loaded, err := board.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{repo: "..", work: t.TempDir(), board: loaded}
		d, err := b.fetchFirmware(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]initramfs.Firmware{}
		for _, f := range d.files {
			if _, twice := names[f.Name]; twice {
				t.Errorf("%s: %s is there twice", name, f.Name)
			}
			names[f.Name] = f
		}
		for _, w := range want {
			if len(names[w].Data) == 0 {
				t.Errorf("%s: no %s among %d files", name, w, len(names))
			}
		}
		for _, c := range d.components {
			if c.License == "" || c.RawSize == 0 || c.SHA256 == "" || !strings.HasPrefix(c.Path, "firmware/") {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if (want == nil) != (len(d.files) == 0) {
			t.Errorf("%s: %d files", name, len(d.files))
		}
	}
}

func TestShareFirmware(t *testing.T) {
	cs := []component.Component{{RawSize: 300}, {RawSize: 100}, {}}
	shareFirmware(cs, 40)
	if cs[0].CompressedSize != 30 || cs[1].CompressedSize != 10 || cs[2].CompressedSize != 0 {
		t.Errorf("%+v", cs)
	}
	shareFirmware(nil, 0)
}
