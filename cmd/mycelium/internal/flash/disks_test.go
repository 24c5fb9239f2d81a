package flash

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestDriveCheck(t *testing.T) {
	usb := Drive{Name: "sdb", Path: "/dev/sdb", Model: "Stick", Size: 8e9, Bus: "usb"}
	with := func(change func(*Drive)) Drive {
		d := usb
		change(&d)
		return d
	}
	for _, tt := range []struct {
		name          string
		drive         Drive
		want, forced  string
		refusedAtAll  bool
		refusedForced bool
	}{
		{"stick", usb, "", "", false, false},
		{"card", with(func(d *Drive) { d.Bus = "mmc" }), "", "", false, false},
		{"removable", with(func(d *Drive) { d.Bus, d.Removable = "ata", true }), "", "", false, false},
		{"built in", with(func(d *Drive) { d.Bus = "nvme" }), "Stick, 8.0 GB, nvme", "", true, false},
		{"system", with(func(d *Drive) { d.Uses = []string{"/", "swap"} }), "in use (/, swap)", "in use", true, true},
		{"reader without a card", with(func(d *Drive) { d.Size = 0 }), "no medium", "no medium", false, false},
		{"write-protected", with(func(d *Drive) { d.ReadOnly = true }), "write-protected", "write-protected", false, false},
	} {
		for force, want := range map[bool]string{false: tt.want, true: tt.forced} {
			err := tt.drive.Check(force)
			refused := tt.refusedAtAll
			if force {
				refused = tt.refusedForced
			}
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || errors.Is(err, ErrRefused) != refused {
				t.Errorf("%s, force %v: %v, want %q", tt.name, force, err, want)
			}
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 31_914_983_424: "31.9 GB", 999_999_999: "1.0 GB", 128_000_000_000: "128 GB", 2_000_398_934_016: "2.0 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestDiskutil(t *testing.T) {
	data, err := os.ReadFile("testdata/diskutil-list.plist")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseDiskutilList(data)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if data, err = os.ReadFile("testdata/diskutil-info.plist"); err != nil {
		t.Fatal(err)
	}
	if err := list[0].addDiskutilInfo(data); err != nil {
		t.Fatal(err)
	}
	want := Drive{Name: "disk4", Path: "/dev/rdisk4", Model: "Built In SDXC Reader", Size: 31_914_983_424, Bus: "mmc", Removable: true, Uses: []string{"/Volumes/boot"}}
	if !reflect.DeepEqual(list[0], want) {
		t.Errorf("%+v, want %+v", list[0], want)
	}
	if err := list[0].Check(false); err == nil || !strings.Contains(err.Error(), "diskutil unmountDisk disk4") {
		t.Errorf("error %v", err)
	}
	if fmt.Sprint(list[1].Uses) != "[/Volumes/Backup]" {
		t.Errorf("an APFS volume's mount: %v", list[1].Uses)
	}
}

func FuzzDiskutil(f *testing.F) {
	for _, name := range []string{"testdata/diskutil-list.plist", "testdata/diskutil-info.plist"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseDiskutilList(data)
		if err == nil {
			for _, d := range list {
				_ = d.Check(true)
			}
		}
		_ = new(Drive).addDiskutilInfo(data)
	})
}
