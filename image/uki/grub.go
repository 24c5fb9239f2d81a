package uki

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A BIOS has no PE loader. GRUB reads the image through a loop device and takes the
// kernel and the initramfs out of it by their places. The script that names these
// lies in the image's headers, at the same place in every image:
//
//	loopback loop ($disk,gpt3)/EFI/Linux/os.efi
//	set append="mycelium.slot=A"
//	source (loop)4+3
//
// The script starts the kernel; when it comes back, something could not be read. The
// variable append is what it adds to the command line.
const (
	// ScriptSector and ScriptSectors are where the script lies, in sectors of 512 bytes.
	ScriptSector  = 4
	ScriptSectors = 3

	grubSector = 512
	scriptAt   = ScriptSector * grubSector
	scriptEnd  = scriptAt + ScriptSectors*grubSector
)

// grubWords are the characters that mean nothing to GRUB's script language. The kernel's
// own quotes are left out too: what one cannot write without them, one cannot pass.
const grubWords = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=,._/:-+@% "

// grubScript is the script for kernel and initramfs in sections that lie in whole
// sectors, padded to its place.
func grubScript(cmdline string, linux, initrd Section) ([]byte, error) {
	if i := strings.IndexFunc(cmdline, func(r rune) bool { return !strings.ContainsRune(grubWords, r) }); i >= 0 {
		return nil, fmt.Errorf("command line %q: %q cannot be passed by GRUB, which starts it on BIOS machines", cmdline, cmdline[i:i+1])
	}
	place := func(s Section) string {
		return fmt.Sprintf("(loop)%d+%d", s.Offset/grubSector, s.FileSize/grubSector)
	}
	script := fmt.Sprintf("if linux %s %s $append; then\nif initrd %s; then\nboot\nfi\nfi\n",
		place(linux), strings.Join(strings.Fields(cmdline), " "), place(initrd))
	const room = scriptEnd - scriptAt
	if len(script) > room {
		return nil, fmt.Errorf("the command line is too long for BIOS machines: it takes %d bytes of %d with what is around it", len(script), room)
	}
	return []byte(script + strings.Repeat("\n", room-len(script))), nil
}

// addGRUBScript writes the script into the headers, where newBuilder has left room.
func (b *builder) addGRUBScript(cmdline string) error {
	if b.fileAlign%grubSector != 0 {
		return fmt.Errorf("%w: sections begin at multiples of %d bytes in the file, GRUB needs %d", ErrFormat, b.fileAlign, grubSector)
	}
	script, err := grubScript(cmdline, b.section(".linux"), b.section(".initrd"))
	if err != nil {
		return err
	}
	copy(b.image[scriptAt:scriptEnd], script)
	return nil
}

// section returns an added section's place in the file.
func (b *builder) section(name string) Section {
	for i := range b.count {
		h := b.image[b.table-(i+1)*sectionSize:][:sectionSize]
		if strings.TrimRight(string(h[:8]), "\x00") == name {
			le := binary.LittleEndian
			return Section{Name: name, FileSize: le.Uint32(h[16:]), Offset: le.Uint32(h[20:])}
		}
	}
	return Section{Name: name}
}
