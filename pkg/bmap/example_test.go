package bmap_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/digital-mycelium/os/pkg/bmap"
)

// An image with content in two of its four blocks is mapped, and copied over
// something older.
func Example() {
	image := make([]byte, 4*bmap.BlockSize)
	copy(image, "boot sector")
	copy(image[3*bmap.BlockSize:], "end")
	m, err := bmap.New(bytes.NewReader(image), int64(len(image)), []bmap.Extent{{Offset: 0, Length: 11}, {Offset: 3 * bmap.BlockSize, Length: 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.MappedBlocks(), "of", m.Blocks(), "blocks")

	disk, err := os.CreateTemp("", "bmap")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.Remove(disk.Name()) }()
	defer disk.Close()
	if _, err := disk.WriteString(strings.Repeat("old", 4*bmap.BlockSize)); err != nil {
		fmt.Println(err)
		return
	}
	if err := m.Copy(context.Background(), disk, bytes.NewReader(image)); err != nil {
		fmt.Println(err)
		return
	}
	head := make([]byte, 11)
	if _, err := disk.ReadAt(head, 0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(head))
	// Output:
	// 2 of 4 blocks
	// boot sector
}
