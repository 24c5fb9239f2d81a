package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/secureboot"
)

// sbverify returns what the tool, which is of another hand, says of an EFI program.
func sbverify(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("sbverify"); err != nil {
		t.Fatalf("%v: apt-get install sbsigntool", err)
	}
	out, err := exec.Command("sbverify", args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No signature table present") {
		t.Errorf("sbverify %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// secureKeys makes keys in a directory.
func secureKeys(t *testing.T) string {
	t.Helper()
	keys, err := secureboot.Generate("Test", time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// secureBuild makes an OS file and the boot files of a board, with the real stub and
// loader around a kernel and an initramfs of no meaning.
func secureBuild(t *testing.T, bd *board.Board, keys string) (b *builder, osFile string, p *parts) {
	t.Helper()
	secure, err := loadSecureBoot(keys, bd)
	if err != nil {
		t.Fatal(err)
	}
	b = &builder{
		repo: "..", work: t.TempDir(), board: bd, secure: secure,
		version: Version{Name: "1.2.3", Time: time.Unix(1_700_000_000, 0)}, log: newProgress(io.Discard, time.Now),
	}
	loaders, err := b.fetchLoader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p = &parts{kernel: fakePart(t, "linux", "kernel", 1<<20), stub: loaders[0], loader: loaders[1]}
	osFile = filepath.Join(b.work, OSFile)
	if err := b.writeOSFile(osFile, p, bytes.Repeat([]byte("initramfs"), 5003)); err != nil {
		t.Fatal(err)
	}
	return b, osFile, p
}

// TestSecureBoot: of every board with UEFI, the OS file and the boot loader are signed, and
// sbverify has nothing to say against them; nor has it without a signature.
func TestSecureBoot(t *testing.T) {
	keys := secureKeys(t)
	for _, name := range board.Names() {
		bd, err := board.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if bd.Firmware.EFI == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, plain, _ := secureBuild(t, bd, "")
			if said := sbverify(t, "--list", plain); said != "No signature table present" {
				t.Errorf("without keys: %s", said)
			}
			b, osFile, p := secureBuild(t, bd, keys)
			if _, again, _ := secureBuild(t, bd, keys); !bytes.Equal(read(t, osFile), read(t, again)) {
				t.Error("another OS file the second time")
			}
			if err := b.signLoader(p); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{osFile, p.loader.File} {
				if said := sbverify(t, "--cert", filepath.Join(keys, "db.crt"), file); said != "Signature verification OK" {
					t.Errorf("%s: %s", filepath.Base(file), said)
				}
			}
			sameParts(t, plain, osFile)
		})
	}
}

// sameParts wants two OS files to differ in the signature alone, as far as their sections
// and GRUB's script go.
func sameParts(t *testing.T, plain, signed string) {
	t.Helper()
	a, b := read(t, plain), read(t, signed)
	fa, err := uki.Parse(bytes.NewReader(a), int64(len(a)))
	if err != nil {
		t.Fatal(err)
	}
	fb, err := uki.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range fa.Sections {
		x, errA := fa.ReadSection(s.Name)
		y, errB := fb.ReadSection(s.Name)
		if errors.Join(errA, errB) != nil || !bytes.Equal(x, y) {
			t.Errorf("section %s differs: %v", s.Name, errors.Join(errA, errB))
		}
	}
	const from, to = uki.ScriptSector * 512, (uki.ScriptSector + uki.ScriptSectors) * 512
	if !bytes.Equal(a[from:to], b[from:to]) {
		t.Error("GRUB's script differs")
	}
}

// TestSecureBootFiles: the keys and the signed loader are among what a disk needs, which a
// running system installs from too, and the boot loader is told of them.
func TestSecureBootFiles(t *testing.T) {
	keys := secureKeys(t)
	bd, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	boot := map[string]string{}
	for _, dir := range []string{"", keys} {
		b, osFile, p := secureBuild(t, bd, dir)
		if _, err := b.bootFiles(p); err != nil {
			t.Fatal(err)
		}
		boot[dir] = p.boot
		var placed []string
		for _, c := range p.root {
			placed = append(placed, c.Path)
		}
		image := filepath.Join(t.TempDir(), DiskImage)
		if err := disk.Write(image, disk.Spec{Board: bd, OSFile: osFile, Boot: p.boot, Time: b.version.Time}); err != nil {
			t.Fatal(err)
		}
		for _, name := range secureboot.Names() {
			file := disk.KeysDir + "/" + secureboot.UpdateFile(name)
			if has := strings.Contains(strings.Join(placed, " "), bootDir+file); has != (dir != "") {
				t.Errorf("keys %q: root has %s: %v", dir, file, has)
			}
			onDisk := run(t, "", "sh", "-c", "mtype -i "+image+"@@1M ::"+file+" 2>/dev/null || true")
			if dir == "" && onDisk != "" || dir != "" && onDisk != string(read(t, keys, secureboot.UpdateFile(name))) {
				t.Errorf("keys %q: %s on the disk has %d bytes", dir, file, len(onDisk))
			}
		}
	}
	conf := string(read(t, boot[keys], "loader/loader.conf"))
	if plain := string(read(t, boot[""], "loader/loader.conf")); plain != string(disk.LoaderConf) || conf != plain+"secure-boot-enroll if-safe\n" {
		t.Errorf("loader.conf:\n%s", conf)
	}
	if said := sbverify(t, "--cert", filepath.Join(keys, "db.crt"), filepath.Join(boot[keys], bd.Firmware.EFI.Loader.Install)); said != "Signature verification OK" {
		t.Errorf("the loader that is installed: %s", said)
	}
	var l disklayout.Layout
	if err := json.Unmarshal(read(t, boot[keys], disklayout.LayoutFile), &l); err != nil || len(l.Files) != 5 {
		t.Errorf("layout with %d files, %v", len(l.Files), err)
	}
}

func TestSecureBootKeysMissing(t *testing.T) {
	amd64, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadSecureBoot(t.TempDir(), amd64); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "image secureboot-keys") {
		t.Errorf("no keys: %v", err)
	}
	keys := secureKeys(t)
	if err := os.Remove(filepath.Join(keys, "KEK.auth")); err != nil {
		t.Fatal(err)
	}
	if _, err := loadSecureBoot(keys, amd64); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no update of KEK: %v", err)
	}
	rpi, err := board.Load("rpi")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := loadSecureBoot(keys, rpi); s != nil || err != nil {
		t.Errorf("a board without UEFI: %v, %v", s, err)
	}
}
