package uefi

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// description is what the firmware's menu calls the entry for trials.
const description = "Digital Mycelium OS, on trial"

// loadOption encodes an EFI_LOAD_OPTION (UEFI Specification 2.10, 3.1.3) that
// starts the program at path, with backslashes, on a partition.
func loadOption(p gpt.Partition, path string) []byte {
	disk := node(4, 1, nil) // a hard drive (10.3.5.1)
	disk = binary.LittleEndian.AppendUint32(disk, uint32(p.Number))
	disk = binary.LittleEndian.AppendUint64(disk, p.First)
	disk = binary.LittleEndian.AppendUint64(disk, p.Sectors())
	disk = append(disk, mixedEndian(p.ID)...)
	disk = append(disk, 2, 2) // GPT, and known by its GUID
	binary.LittleEndian.PutUint16(disk[2:], uint16(len(disk)))
	devicePath := append(disk, node(4, 4, utf16z(path))...) // a file (10.3.5.4)
	devicePath = append(devicePath, node(0x7f, 0xff, nil)...)

	option := binary.LittleEndian.AppendUint32(nil, 1) // active
	option = binary.LittleEndian.AppendUint16(option, uint16(len(devicePath)))
	option = append(option, utf16z(description)...)
	return append(option, devicePath...)
}

// isOurs reports whether a load option is one of this package.
func isOurs(option []byte) bool {
	head, name := 6, utf16z(description)
	return len(option) > head+len(name) && string(option[head:head+len(name)]) == string(name)
}

// node encodes a node of a device path.
func node(kind, sub byte, data []byte) []byte {
	return append([]byte{kind, sub, byte(4 + len(data)), byte((4 + len(data)) >> 8)}, data...)
}

// utf16z encodes little-endian UTF-16 with a zero at its end.
func utf16z(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// mixedEndian is a GUID as UEFI stores it: the first three fields little-endian.
func mixedEndian(g gpt.GUID) []byte {
	return []byte{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}
