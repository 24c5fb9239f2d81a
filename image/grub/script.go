package grub

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/uki"
)

const (
	// EnvironmentFile is where the environment block is on the EFI system partition.
	EnvironmentFile = "grub/grubenv"
	scriptName      = "grub.cfg"
)

// scriptText is the script in the core image, by the partitions of a board.
//
//go:embed grub.cfg
var scriptText string

// Script returns the script that chooses the slot and starts it.
func Script(b *board.Board) string {
	esp, _ := b.Disk.Number("esp") // which every board has
	data := struct {
		Environment           string
		Slots                 []board.SlotPartition
		File                  string
		ScriptAt, ScriptCount int
	}{
		fmt.Sprintf("gpt%d)/%s", esp, EnvironmentFile), b.Disk.Slots(), "EFI/Linux/os.efi", uki.ScriptSector, uki.ScriptSectors,
	}
	var text bytes.Buffer
	if err := template.Must(template.New(scriptName).Parse(scriptText)).Execute(&text, data); err != nil {
		panic(err) // a mistake in a text that is compiled in
	}
	return text.String()
}

// prefix makes GRUB take the EFI system partition of the disk that it was started from
// for its own, whatever number the BIOS gives the disk.
func prefix(b *board.Board) string {
	esp, _ := b.Disk.Number("esp")
	return fmt.Sprintf("(,gpt%d)/grub", esp)
}

// Environment returns the environment block of a new disk: 1024 bytes, as grub-editenv
// makes it, whose variables lie in its first sector.
func Environment(b *board.Board) []byte {
	const size = 1024
	text := fmt.Sprintf("# GRUB Environment Block\nslot=%s\ntry=\n", b.Disk.Slots()[0].Label)
	return append([]byte(text), bytes.Repeat([]byte("#"), size-len(text))...)
}
