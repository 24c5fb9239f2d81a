package uefi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written is what U-Boot 2025.01 has left on a disk that it could start nothing from.
func written(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/ubootefi.var")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUBootFile(t *testing.T) {
	list, err := parseUBootFile(written(t))
	noErr(t, err)
	var names []string
	for _, v := range list {
		names = append(names, v.name)
		if v.attributes != attributes || v.vendor != globalVendor() {
			t.Errorf("%s: attributes %d, vendor %x", v.name, v.attributes, v.vendor)
		}
	}
	if want := []string{"Boot0000", "BootOrder", "PlatformLang"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if again := formatUBootFile(list); !bytes.Equal(again, written(t)) {
		t.Errorf("written again it is\n%x, want\n%x", again, written(t))
	}
}

// TestTryOnceUBoot: what U-Boot has in its file stays, and what it has not is new.
func TestTryOnceUBoot(t *testing.T) {
	f, _ := machine(t)
	if put(t, f, "LoaderFirmwareInfo", loader, utf16z("EDK II 2.70")); IsUBoot(f.Variables) {
		t.Error("EDK II passes for U-Boot")
	}
	if put(t, f, "LoaderFirmwareInfo", loader, utf16z("Das U-Boot 8229.00")); !IsUBoot(f.Variables) {
		t.Error("U-Boot is not recognised")
	}
	f.UBoot = filepath.Join(t.TempDir(), UBootFile)
	noErr(t, os.WriteFile(f.UBoot, written(t), 0o600))
	noErr(t, f.Untry()) // there is nothing
	if err := f.TryOnce("B"); err == nil || !strings.Contains(err.Error(), "second disk") {
		t.Errorf("U-Boot has another file: %v", err)
	}
	put(t, f, "BootOrder", global, []byte{0, 0}) // as in the file
	noErr(t, f.TryOnce("B"))

	list, err := parseUBootFile(read(t, f.UBoot))
	noErr(t, err)
	wantVariables := map[string][]byte{"Boot0001": nil, "BootNext": {1, 0}, "BootOrder": {0, 0}, "PlatformLang": []byte("en-US\x00"), "Boot0000": nil}
	for _, v := range list {
		want, ok := wantVariables[v.name]
		if !ok || want != nil && !bytes.Equal(v.value, want) && v.name != "PlatformLang" {
			t.Errorf("%s is %x, want %x", v.name, v.value, want)
		}
		delete(wantVariables, v.name)
	}
	if len(wantVariables) > 0 {
		t.Errorf("missing: %v", wantVariables)
	}
	_, slots, err := f.table()
	noErr(t, err)
	option, err := ubootFile(f.UBoot).value("Boot0001")
	if err != nil || !bytes.Equal(option, loadOption(slots["B"], f.File)) {
		t.Errorf("%x, %v", option, err)
	}

	noErr(t, f.TryOnce("B")) // the entry is there
	noErr(t, f.Untry())
	noErr(t, f.Untry())
	if _, err := ubootFile(f.UBoot).value("BootNext"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("BootNext is still there: %v", err)
	}
	noErr(t, ubootFile(f.UBoot).set("BootNext", []byte{0, 0}))
	noErr(t, f.Untry())
	if v, err := ubootFile(f.UBoot).value("BootNext"); err != nil || len(v) != 2 {
		t.Errorf("another system's BootNext: %x, %v", v, err)
	}
	if _, err := os.Stat(variables(f.Variables).path("BootNext", global)); err == nil {
		t.Error("the running firmware's variable was written as well")
	}
}

// TestUBootFileDamaged: U-Boot takes nothing from a damaged file, so neither do we,
// and a trial starts from nothing.
func TestUBootFileDamaged(t *testing.T) {
	good := written(t)
	for name, b := range map[string][]byte{
		"empty":     {},
		"cut short": good[:100],
		"a bit":     append(append(bytes.Clone(good[:60]), good[60]^1), good[61:]...),
		"magic":     append([]byte{1}, good[1:]...),
	} {
		f, _ := machine(t)
		f.UBoot = filepath.Join(t.TempDir(), UBootFile)
		noErr(t, os.WriteFile(f.UBoot, b, 0o600))
		if _, err := parseUBootFile(b); !errors.Is(err, errUBoot) {
			t.Errorf("%s: %v", name, err)
		}
		noErr(t, f.TryOnce("B"))
		if next, err := ubootFile(f.UBoot).value("BootNext"); err != nil || !bytes.Equal(next, []byte{0, 0}) {
			t.Errorf("%s: BootNext %x, %v", name, next, err)
		}
	}
	f, _ := machine(t)
	f.UBoot = filepath.Join(t.TempDir(), "none", UBootFile)
	if err := f.TryOnce("B"); err == nil || !strings.Contains(err.Error(), "U-Boot") {
		t.Errorf("%v", err)
	}
	if slot, err := f.Default(); err != nil || slot != "A" {
		t.Errorf("%s, %v", slot, err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	noErr(t, err)
	return b
}

func FuzzUBootFile(f *testing.F) {
	b := written(f)
	f.Add(b[ubootHead:])
	f.Add([]byte{})
	f.Add(make([]byte, ubootEntry+2))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append(make([]byte, ubootHead), body...)
		binary.LittleEndian.PutUint64(b[8:], ubootMagic)
		binary.LittleEndian.PutUint32(b[16:], uint32(len(b)))
		binary.LittleEndian.PutUint32(b[20:], crc32.ChecksumIEEE(body))
		list, err := parseUBootFile(b)
		if err != nil {
			return
		}
		again, err := parseUBootFile(formatUBootFile(list))
		if err != nil || len(again) != len(list) {
			t.Fatalf("%d variables became %d, %v", len(list), len(again), err)
		}
		for i, v := range list {
			if w := again[i]; v.name != w.name || !bytes.Equal(v.value, w.value) || v.vendor != w.vendor || v.attributes != w.attributes || v.time != w.time {
				t.Fatalf("%+v became %+v", v, w)
			}
		}
	})
}
