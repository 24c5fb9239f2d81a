package tryboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newPi(t *testing.T) *Firmware {
	t.Helper()
	dir := t.TempDir()
	f := &Firmware{Autoboot: filepath.Join(dir, "autoboot.txt"), Bootloader: dir, Partitions: map[string]int{"A": 2, "B": 3}}
	noErr(t, os.WriteFile(f.Autoboot, Format(2, 3), 0o600))
	return f
}

var bootPartition = regexp.MustCompile(`\[(all|tryboot)\]\n(?:tryboot_a_b=1\n)?boot_partition=(\d)\n`)

// firmware does what the Pi's does with autoboot.txt, and starts.
func firmware(t *testing.T, f *Firmware, argument string) {
	t.Helper()
	b, err := os.ReadFile(f.Autoboot)
	noErr(t, err)
	section := map[string]string{"": "all", "0 tryboot": "tryboot"}[argument]
	for _, m := range bootPartition.FindAllSubmatch(b, -1) {
		if string(m[1]) == section {
			n, err := strconv.Atoi(string(m[2]))
			noErr(t, err)
			noErr(t, os.WriteFile(filepath.Join(f.Bootloader, "partition"), binary.BigEndian.AppendUint32(nil, uint32(n)), 0o600))
			return
		}
	}
	t.Fatalf("no section %q in %s", section, b)
}

func TestFirmware(t *testing.T) {
	f := newPi(t)
	boots := func(argument, want, def string) {
		t.Helper()
		firmware(t, f, argument)
		f = &Firmware{Autoboot: f.Autoboot, Bootloader: f.Bootloader, Partitions: f.Partitions}
		running, err := f.Running()
		noErr(t, err)
		got, err := f.Default()
		noErr(t, err)
		if running != want || got != def {
			t.Errorf("started %s, default %s, want %s and %s", running, got, want, def)
		}
	}
	boots(f.Argument(), "A", "A")
	noErr(t, f.TryOnce("B"))
	boots("", "A", "A") // the power went before the reboot
	noErr(t, f.TryOnce("B"))
	boots(f.Argument(), "B", "A")
	boots(f.Argument(), "A", "A") // once
	noErr(t, f.TryOnce("B"))
	noErr(t, f.Untry())
	boots(f.Argument(), "A", "A")
	noErr(t, f.TryOnce("B"))
	boots(f.Argument(), "B", "A")
	noErr(t, f.SetDefault("B"))
	boots(f.Argument(), "B", "B")
	noErr(t, f.TryOnce("A"))
	boots(f.Argument(), "A", "B")
	noErr(t, f.SetDefault("A"))
	boots(f.Argument(), "A", "A")
}

func TestRefusals(t *testing.T) {
	f := newPi(t)
	for _, err := range []error{f.TryOnce("A"), f.TryOnce("C"), f.SetDefault("C")} {
		if err == nil {
			t.Error("a slot that is none, or is started anyway")
		}
	}
	if _, err := f.Running(); err == nil {
		t.Error("nothing was started, and it runs")
	}
	noErr(t, os.WriteFile(filepath.Join(f.Bootloader, "partition"), []byte{0, 0, 0, 9}, 0o600))
	if _, err := f.Running(); err == nil {
		t.Error("partition 9 runs")
	}
	whole := Format(2, 3)
	for name, b := range map[string][]byte{
		"empty": nil, "cut short": whole[:100], "zeros": make([]byte, size), "no partition": bytes.Replace(whole, []byte("boot_partition=2"), []byte("boot_partitiom=2"), 1),
		"no A/B": bytes.Replace(whole, []byte("a_b=1"), []byte("a_b=0"), 1), "too long": append(bytes.Clone(whole), '#'),
	} {
		noErr(t, os.WriteFile(f.Autoboot, b, 0o600))
		if got, err := f.Default(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := f.SetDefault("B"); len(b) != size && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s was written to: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Format(2, 3))
	f.Add(bytes.Repeat([]byte("#"), size))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parse(b); err == nil && (n < 1 || n > 999) {
			t.Fatalf("partition %d", n)
		}
	})
}
