package netboot

import (
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOpenTFTP(t *testing.T) {
	c := site(people())
	c.Pi = piImage(fstest.MapFS{
		"start4.elf": {Data: []byte("start")}, "overlays/a.dtbo": {Data: []byte("overlay")}, "1234abcd/own": {Data: []byte("never")},
	})
	from := netip.MustParseAddr(three)
	for name, want := range map[string]string{
		"snponly.efi": "snp", "/snponly.efi": "snp", "\\undionly.kpxe": "undi", "undionly.kpxe\x00\xff": "undi",
		"1234abcd/start4.elf": "start", "dc-a6-32-01-02-03/start4.elf": "start", "start4.elf": "start", "1234abcd/overlays/a.dtbo": "overlay", "overlays/a.dtbo": "overlay",
	} {
		f, size, err := c.OpenTFTP(name, from)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want || size != int64(len(want)) {
			t.Errorf("%q: %q of %d, %v", name, got, size, err)
		}
		f.Close()
	}
	for _, name := range []string{
		"", ".", "/", "..", "secret", "../secret", "1234abcd/../secret", "1234abcd/own", "overlays", "1234abcd/overlays", "a//b", "snponly.efi/", "\x1b[2J", strings.Repeat("x", 200),
	} {
		if f, _, err := c.OpenTFTP(name, from); err == nil {
			f.Close()
			t.Errorf("%q is served", name)
		} else if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q steers the terminal: %v", name, err)
		}
	}
	if m := c.Machines.List(); len(m) != 1 || m[0].Address != from {
		t.Errorf("%+v", m)
	}
}

func FuzzOpenTFTP(f *testing.F) {
	for _, s := range []string{"snponly.efi", "\\..\\secret", "1234abcd/../../secret", "/etc/passwd", "1234abcd/1234abcd/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c := site(nil)
		c.Pi = piImage(watchFS{t})
		if file, _, err := c.OpenTFTP(name, netip.MustParseAddr(stranger)); err == nil {
			content, _ := io.ReadAll(file)
			if s := string(content); s != "snp" && s != "undi" {
				t.Fatalf("%q gives %q", name, content)
			}
		}
	})
}

// watchFS has no file and wants valid names.
type watchFS struct{ t *testing.T }

func (w watchFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		w.t.Fatalf("asked for %q", name)
	}
	return nil, fs.ErrNotExist
}
