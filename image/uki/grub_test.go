package uki

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/uki/ukitest"
)

// TestGRUBScript takes kernel and initramfs out of an image as GRUB does: by the script
// at its fixed place.
func TestGRUBScript(t *testing.T) {
	for room := range 12 {
		p := testParts(ukitest.Stub(room))
		p.BIOS = true
		image, err := Build(p)
		if err != nil {
			t.Fatal(err)
		}
		checkRules(t, image)
		script := string(image[ScriptSector*512 : (ScriptSector+ScriptSectors)*512])
		var linuxAt, linuxSize, initrdAt, initrdSize int
		want := "if linux (loop)%d+%d " + p.CmdLine + " $append; then\nif initrd (loop)%d+%d; then\nboot\nfi\nfi\n"
		if _, err := fmt.Sscanf(strings.TrimRight(script, "\n")+"\n", want, &linuxAt, &linuxSize, &initrdAt, &initrdSize); err != nil {
			t.Fatalf("room %d: %v in the script\n%s", room, err, script)
		}
		for _, part := range []struct {
			name     string
			at, size int
			want     []byte
		}{{"kernel", linuxAt, linuxSize, p.Linux}, {"initramfs", initrdAt, initrdSize, p.Initrd}} {
			got := image[part.at*512:][:part.size*512]
			if !bytes.HasPrefix(got, part.want) || len(bytes.Trim(got[len(part.want):], "\x00")) != 0 {
				t.Errorf("room %d: the sectors of the %s hold something else", room, part.name)
			}
		}
		f, err := Parse(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.ReadSection(".cmdline"); err != nil || string(got) != p.CmdLine {
			t.Errorf("section .cmdline: %q, %v", got, err)
		}
	}
}

func TestGRUBScriptRefuses(t *testing.T) {
	for _, cmdline := range []string{
		`dyndbg="file a"`, "a=$x", "a;b", "a'b", "a\nb", "a#b", "{a}", strings.Repeat("a", 1500),
	} {
		p := testParts(ukitest.Stub(0))
		p.BIOS, p.CmdLine = true, cmdline
		if _, err := Build(p); err == nil || !strings.Contains(err.Error(), "BIOS") {
			t.Errorf("command line %.40q: %v", cmdline, err)
		}
		p.BIOS = false
		if _, err := Build(p); err != nil {
			t.Errorf("command line %.40q on UEFI alone: %v", cmdline, err)
		}
	}
}
