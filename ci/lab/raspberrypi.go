package lab

import (
	"context"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/qemu"
	"github.com/digital-mycelium/os/pkg/update/pieces"
)

// PiBoard is the board of the Raspberry Pi.
const PiBoard = "rpi"

// piDisk is the size of its disk: QEMU wants a power of two of an SD card.
const piDisk = 4 << 30

// RaspberryPi describes a machine that is QEMU's Raspberry Pi model ("raspi3b" or
// "raspi4b") with the image of the suite, which is the board's (On). Package pi does the
// firmware's part.
func (s *Suite) RaspberryPi(ctx context.Context, model string) (qemu.NodeSpec, error) {
	lock, err := debian.Load(filepath.Join(s.Root, debian.LockPath))
	if err != nil {
		return qemu.NodeSpec{}, err
	}
	deb, _, err := lock.Fetch(ctx, "qemu-system-arm", "amd64") // Debian 12's own has no raspi4b
	if err != nil {
		return qemu.NodeSpec{}, err
	}
	program, err := debian.Extract(ctx, deb, "usr/bin/qemu-system-aarch64")
	if err != nil {
		return qemu.NodeSpec{}, err
	}
	machine, err := s.build("ci/lab/pi/pimachine", "pimachine", "")
	if err != nil {
		return qemu.NodeSpec{}, err
	}
	return qemu.NodeSpec{
		Image: s.Image, DiskBytes: piDisk, Firmware: qemu.BIOS, Acceleration: qemu.TCG,
		Host: qemu.Host{Binary: machine}, ExtraArgs: []string{"-pi-model", model, "-pi-qemu", program},
	}, nil
}

// PiVariant makes an OS file of another version whose kernel is told more.
func (s *Suite) PiVariant(dir, version, commandLine string) (OSFile, error) {
	p, err := readPieces(filepath.Join(filepath.Dir(s.Image), image.OSFile))
	if err != nil {
		return OSFile{}, err
	}
	p.OSRelease = image.OSRelease(version, PiBoard)
	p.CmdLine += " " + commandLine
	data, err := uki.BuildPieces(p)
	if err != nil {
		return OSFile{}, err
	}
	return s.saveOSFile(dir, version, data)
}

// readPieces takes an OS file of pieces apart.
func readPieces(path string) (uki.Piecewise, error) {
	var p uki.Piecewise
	data, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	list, err := pieces.Parse(data, int64(len(data)))
	if err != nil {
		return p, err
	}
	last := len(list) - 1
	for i, piece := range list {
		content := data[piece.Offset:][:piece.Size]
		switch i {
		case 0: // the head is made anew
		case 1:
			p.CmdLineName, p.CmdLine = piece.Name, string(content)
		case last - 1:
			p.InitrdName, p.Initrd = piece.Name, content
		case last:
			p.LinuxName, p.Linux = piece.Name, content
		default:
			p.Files = append(p.Files, uki.NamedFile{Name: piece.Name, Content: content})
		}
	}
	p.Machine, p.Uname = 0xaa64, "test"
	return p, nil
}
