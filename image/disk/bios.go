package disk

import (
	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// Where the boot directory has what machines without UEFI start with.
const (
	bootCodeFile = "grub/boot.img"
	coreFile     = "grub/core.img"
)

// addBIOS puts GRUB's environment and its pieces into the layout of a board that starts
// by BIOS too.
func addBIOS(l *disklayout.Layout, b *board.Board) error {
	if b.Firmware.BIOS == nil {
		return nil
	}
	p, err := biosPartition(*l)
	if err != nil {
		return err
	}
	l.Files = append(l.Files, disklayout.File{Name: grub.EnvironmentFile, Source: grub.EnvironmentFile, Keep: true})
	l.Raw = append(l.Raw, disklayout.Raw{Source: bootCodeFile}, disklayout.Raw{Source: coreFile, Offset: int64(p.First) * sectorSize})
	return nil
}

// biosPartition is where every disk of the layout has GRUB's core image.
func biosPartition(l disklayout.Layout) (found gpt.Partition, err error) {
	t, err := l.Table(l.Bytes(), disklayout.RandomIDs)
	if err != nil {
		return found, err
	}
	for _, p := range t.Partitions {
		if p.Type == gpt.BIOSBoot {
			found = p
		}
	}
	return found, nil // the board was checked to have one
}

// biosFiles are the files that addBIOS names; core is the path of GRUB's core image.
func biosFiles(l disklayout.Layout, b *board.Board, core string) ([]bootFile, error) {
	if b.Firmware.BIOS == nil {
		return nil, nil
	}
	files, err := grub.Read(core)
	if err != nil {
		return nil, err
	}
	p, err := biosPartition(l)
	if err != nil {
		return nil, err
	}
	code, placed, err := files.Place(p.First, int64(p.Last-p.First+1)*sectorSize)
	if err != nil {
		return nil, err
	}
	return []bootFile{
		{grub.EnvironmentFile, grub.Environment(b)}, {bootCodeFile, code[:]}, {coreFile, placed},
	}, nil
}
