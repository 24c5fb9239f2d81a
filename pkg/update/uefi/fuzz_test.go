package uefi

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// FuzzVariables: whatever a firmware shows in its variables, nothing but our own entry
// and BootNext is changed, and a trial is asked for or refused.
func FuzzVariables(f *testing.F) {
	ours := append([]byte{7, 0, 0, 0}, loadOption(gpt.Partition{Number: 2, First: 2048, Last: 4095}, `\os.efi`)...)
	stub := append([]byte{6, 0, 0, 0}, utf16z(gpt.DeriveGUID("partition", "B").String())...)
	f.Add(ours, []byte{7, 0, 0, 0, 0, 0}, stub)
	f.Add(append([]byte{7, 0, 0, 0, 1, 0, 0, 0, 0, 0}, utf16z("Debian")...), []byte{7, 0, 0, 0, 1, 0}, stub[:9])
	f.Add([]byte{}, []byte{7}, []byte{6, 0, 0, 0, 0xd8})
	f.Fuzz(func(t *testing.T, entry, next, stub []byte) {
		m, _ := machine(t)
		files := map[string][]byte{"Boot0000-" + global: entry, "BootNext-" + global: next, "StubDevicePartUUID-" + loader: stub}
		for name, b := range files {
			if len(b) > maxVariable {
				return
			}
			noErr(t, os.WriteFile(filepath.Join(m.Variables, name), b, 0o600))
		}
		if slot, err := m.Running(); err == nil && (slot != "A" && slot != "B" || !strings.EqualFold(decodeUTF16(stub[4:]), gpt.DeriveGUID("partition", slot).String())) {
			t.Errorf("%x runs %q", stub, slot)
		}
		theirs := len(entry) < 4 || !isOurs(entry[4:])
		// Untry refuses what is no variable, and leaves what is another's alone.
		err := m.Untry()
		if _, left := os.Stat(filepath.Join(m.Variables, "BootNext-"+global)); left != nil && (err != nil || theirs || !bytes.Equal(next[4:], []byte{0, 0})) {
			t.Errorf("BootNext %x of another was removed: %v", next, err)
		}
		if err := m.TryOnce("B"); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(m.Variables, "Boot0000-"+global))
		if noErr(t, err); theirs && !bytes.Equal(got, entry) {
			t.Errorf("an entry of another became %x", got)
		}
		value, err := variables(m.Variables).get("BootNext", global)
		if noErr(t, err); len(value) != 2 || (binary.LittleEndian.Uint16(value) == 0) == theirs {
			t.Errorf("BootNext is %x", value)
		}
	})
}

// FuzzLoadOption: an entry says what was put into it to whoever reads it, and a reader
// of foreign ones does not stumble.
func FuzzLoadOption(f *testing.F) {
	f.Add(2, uint64(2048), uint64(4096), `\EFI\Linux\os.efi`, []byte{1, 0, 0, 0, 4, 0, 0, 0, 0x7f, 0xff, 4, 0})
	f.Add(128, uint64(34), uint64(1), `\Ä`, []byte{})
	f.Fuzz(func(t *testing.T, number int, begin, sectors uint64, path string, foreign []byte) {
		_, _, _ = bootOption(foreign, nil)
		if _ = isOurs(foreign); decodeUTF16(foreign) == "" && len(foreign) > 1 && (foreign[0] != 0 || foreign[1] != 0) {
			t.Errorf("nothing was decoded of %x", foreign)
		}
		if number < 1 || number > 128 || begin > 1<<50 || sectors == 0 || sectors > 1<<50 || path == "" || len(path) > 1000 || !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
			return
		}
		p := gpt.Partition{Number: number, First: begin, Last: begin + sectors - 1, ID: gpt.DeriveGUID(path)}
		option := loadOption(p, path)
		if !isOurs(option) {
			t.Error("it is not ours")
		}
		want := simPartition{number: number, id: string(mixedEndian(p.ID)), begin: int64(begin), sectors: int64(sectors)}
		got, name, err := bootOption(option, []simPartition{want})
		if err != nil || got != want || name != strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/") && name != "" {
			if name == "" && strings.Trim(path, `\/`) == "" {
				return
			}
			t.Errorf("%+v, %q, %v", got, name, err)
		}
		if text := decodeUTF16(utf16z(path)); text != path {
			t.Errorf("%q became %q", path, text)
		}
	})
}
