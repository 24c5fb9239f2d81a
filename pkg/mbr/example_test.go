package mbr_test

import (
	"fmt"
	"os"

	"github.com/digital-mycelium/os/pkg/mbr"
)

// A table with a logical partition, written to an image file and read back.
func Example() {
	f, err := os.CreateTemp("", "disk")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer f.Close()
	const size = 64 << 20
	if err := f.Truncate(size); err != nil {
		panic(err)
	}
	table := &mbr.Table{Partitions: []mbr.Partition{
		{Number: 1, Type: mbr.FAT32, First: 2048, Sectors: 65536},
		{Number: 2, Type: mbr.Extended, First: 67584, Sectors: 40960},
		{Number: 5, Type: mbr.Linux, First: 69632, Sectors: 38912},
	}}
	if err := table.Write(f, size); err != nil {
		panic(err)
	}
	read, err := mbr.Read(f, size)
	if err != nil {
		panic(err)
	}
	for _, p := range read.Partitions {
		fmt.Printf("%d: type %#02x, %d MiB\n", p.Number, p.Type, p.Sectors/2048)
	}
	// Output:
	// 1: type 0x0c, 32 MiB
	// 2: type 0x0f, 20 MiB
	// 5: type 0x83, 19 MiB
}
