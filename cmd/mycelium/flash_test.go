package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/cmd/mycelium/internal/flash"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/config"
)

// smallImage writes a disk image with partitions of 4 MiB.
func smallImage(t *testing.T) string {
	t.Helper()
	b, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Disk.Partitions {
		b.Disk.Partitions[i].SizeMiB = 4
	}
	dir := t.TempDir()
	s := disk.Spec{Board: b, OSFile: filepath.Join(dir, "os.efi"), Boot: filepath.Join(dir, "boot"), Time: time.Unix(1_700_000_000, 0)}
	if err := os.WriteFile(s.OSFile, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.WriteBoot(s.Boot, b, disk.Loaders{EFI: s.OSFile}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk.img")
	if err := disk.Write(path, s); err != nil {
		t.Fatal(err)
	}
	return path
}

// bakedOn returns the configuration on the first partition of a flashed file.
func bakedOn(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("mtype", "-i", path+"@@1M", "::mycelium.yaml").Output()
	if err != nil {
		t.Fatalf("mtype: %v (apt-get install mtools)", err)
	}
	return string(out)
}

func TestFlash(t *testing.T) {
	f := newFarm(t, 1)
	image, dir := smallImage(t), t.TempDir()
	plain := filepath.Join(dir, "plain.img")
	out, progress := f.run("flash " + image + " " + plain)
	if !strings.Contains(out, "written and verified") || !strings.Contains(progress, "verifying 100 %") {
		t.Errorf("%s%s", out, progress)
	}
	got, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	const table = 34 * 512 // with the identifiers, which are new
	if n := len(want) - table; len(got) != len(want) || !bytes.Equal(got[table:n], want[table:n]) || bytes.Equal(got[:table], want[:table]) {
		t.Error("the file is not the image with new identifiers")
	}
	f.run("flash --yes --hostname kitchen --network home --invite auto --verify=false " + image + " " + plain)
	text := bakedOn(t, plain)
	c, err := config.Parse([]byte(text))
	if err != nil || c.Hostname != "kitchen" || c.Membership.Network != f.id.String() || c.Membership.Invite == "" {
		t.Errorf("%v: %+v", err, c)
	}
	if !strings.HasPrefix(text, string(disk.ExampleConfig)) {
		t.Error("the example's comments are lost")
	}
	// An image that has a configuration of its own keeps it.
	f.run("flash --yes --hostname cellar " + image + " " + plain)
	again := filepath.Join(dir, "again.img")
	f.run("flash --network home " + plain + " " + again)
	if c, err = config.Parse([]byte(bakedOn(t, again))); err != nil || c.Hostname != "cellar" || c.Membership.Network == "" {
		t.Errorf("%v: %+v", err, c)
	}
	f.refused("", "flash --yes --hostname attic "+plain+" "+again, "says \"cellar\" already")
	// The password is in a file, and nowhere in what is printed.
	password := f.write("password", "pa\"ss: #word\n")
	out, progress = f.run("flash --yes --wifi-ssid Attic --wifi-country DE --wifi-password-file " + password + " " + image + " " + again)
	w := config.WiFi{Country: "DE", Networks: []config.WiFiNetwork{{SSID: "Attic", Password: "pa\"ss: #word"}}}
	if c, err = config.Parse([]byte(bakedOn(t, again))); err != nil || !reflect.DeepEqual(c.Network.WiFi, w) || strings.Contains(out+progress, "word") {
		t.Errorf("%v: %+v\n%s%s", err, c, out, progress)
	}
	f.refused("", "flash --yes --wifi-ssid Cellar --wifi-country DE --wifi-password-file "+password+" "+again+" "+plain, "has a section network already")
}

func TestFlashRefuses(t *testing.T) {
	f := newFarm(t, 1)
	image, dir := smallImage(t), t.TempDir()
	target := filepath.Join(dir, "target")
	old := bytes.Repeat([]byte{1}, 32<<20)
	if err := os.WriteFile(target, old, 0o600); err != nil {
		t.Fatal(err)
	}
	f.refused("no\n", "flash "+image+" "+target, "the name was not typed")
	f.refused("", "flash --yes "+image+" "+image, "is the image itself")
	f.refused("", "flash --yes "+image+" "+dir, "neither a disk nor a file")
	f.refused("", "flash --yes "+image+" /dev/null", "no whole disk")
	f.refused("", "flash --yes "+image+" /dev/no-such-disk", "no such file")
	f.refused("", "flash --yes "+target+"-absent "+target, "open the image")
	f.refused("", "flash --yes --invite x "+image+" "+target, "--network NAME")
	f.refused("", "flash --yes --config "+f.write("mistaken", "hostnme: x")+" "+image+" "+target, "mistake")
	f.refused("", "flash --yes --wifi-ssid x "+image+" "+target, "--wifi-country")
	f.refused("", "flash --yes --wifi-country DE "+image+" "+target, "--wifi-ssid NAME")
	f.refused("", "flash --yes --wifi-ssid x --wifi-country DE "+image+" "+target, "--wifi-password-file")
	f.refused("short\n", "flash --yes --wifi-ssid x --wifi-country DE --wifi-password-file - "+image+" "+target, "8 to 63 printable")
	f.refused("longer than that\n", "flash --yes --wifi-ssid x --wifi-country de --wifi-password-file - "+image+" "+target, "two capital letters")
	f.refused("", "image build --wifi-ssid x --wifi-country DE --board qemu-amd64 --wifi-password-file "+f.write("password", "longer than that"), "has no Wi-Fi")
	f.refused("", "image build --board qemu-amd64 --wifi", "no part for Wi-Fi; there are: pc, rpi")
	f.refused("", "flash "+image, "accepts 2")
	if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, old) {
		t.Errorf("something was written; %v", err)
	}
	small := filepath.Join(dir, "small")
	if err := os.WriteFile(small, old[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	f.refused("", "flash --yes "+image+" "+small, "is too small: it has 1 MiB, the image needs 18")
	if out, _ := f.run("flash --list -o json"); !strings.HasPrefix(out, "[") {
		t.Error(out)
	}
	if out, _ := f.run("__complete flash x"); !strings.Contains(out, "zst") {
		t.Error(out)
	}
}

func TestFlashProgress(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 100 << 20, 0, "writing     0 %  0 of 100 MiB"},
		{50 << 20, 100 << 20, 5 * time.Second, "writing    50 %  50 of 100 MiB  10.0 MiB/s  5s left"},
		{100 << 20, 100 << 20, 5 * time.Second, "writing   100 %  100 of 100 MiB  20.0 MiB/s"},
		{1, 3, time.Second, "writing    33 %  1 of 1 MiB  0.0 MiB/s  2s left"},
	} {
		if got := progressLine(flash.Writing, tt.done, tt.total, tt.took); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	var out bytes.Buffer
	at := time.Unix(0, 0)
	p := newFlashProgress(&out, func() time.Time { return at })
	for i := int64(1); i <= 25; i++ {
		at = at.Add(time.Second)
		p.see(flash.Writing, i, 25)
	}
	p.see(flash.Verifying, 25, 25)
	p.close()
	if lines := strings.Count(out.String(), "\n"); lines != 4 || strings.Contains(out.String(), "\r") {
		t.Errorf("%d lines:\n%s", lines, &out)
	}
	out.Reset()
	p = newFlashProgress(&out, func() time.Time { return at })
	p.terminal = true
	p.see(flash.Writing, 25, 25)
	p.see(flash.Verifying, 25, 25)
	p.close()
	if strings.Count(out.String(), "\n") != 2 || strings.Count(out.String(), "\r\x1b[K") != 2 {
		t.Errorf("%q", &out)
	}
}

func TestChooseBoards(t *testing.T) {
	all, err := chooseBoards("all", false)
	if err != nil || !slices.Equal(all, board.Names()) {
		t.Errorf("%v, %v", all, err)
	}
	if got, err := chooseBoards("qemu-amd64,qemu-amd64", false); err != nil || !slices.Equal(got, []string{"qemu-amd64"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := chooseBoards("qemu-amd64,", false); err == nil {
		t.Errorf("%v", got)
	}
	if got, err := chooseBoards("rpi,pc", true); err != nil || !slices.Equal(got, []string{"rpi", "pc-wifi"}) {
		t.Errorf("with Wi-Fi: %v, %v", got, err)
	}
	if got, err := chooseBoards("all", true); err != nil || len(got) != len(all) || !slices.Contains(got, "pc-wifi") || slices.Contains(got, "pc") || !slices.Contains(got, "qemu-amd64") {
		t.Errorf("all with Wi-Fi: %v, %v", got, err)
	}
	if got, err := chooseBoards("pc,qemu-amd64", true); err == nil {
		t.Errorf("%v", got)
	}
}
