package disklayout_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing/fstest"

	"github.com/digital-mycelium/os/pkg/disklayout"
)

// An image file for a board with one boot loader.
func Example() {
	layout, err := disklayout.Parse([]byte(`{
		"partitions": [
			{"label": "EFI", "type": "esp", "sizeMiB": 4},
			{"label": "A", "type": "xbootldr", "sizeMiB": 4},
			{"label": "B", "type": "slot", "sizeMiB": 4},
			{"label": "STATE", "type": "state", "sizeMiB": 4}
		],
		"files": [{"name": "EFI/BOOT/BOOTX64.EFI", "source": "loader.efi"}]
	}`))
	if err != nil {
		log.Fatal(err)
	}
	f, err := os.CreateTemp("", "disk")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	const system = "a kernel and all that it needs"
	size, err := disklayout.Write(f, disklayout.Content{
		Layout: layout, Source: fstest.MapFS{"loader.efi": {Data: []byte("MZ")}},
		OSFileSize: int64(len(system)),
		OpenOSFile: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(system)), nil },
	}, disklayout.RandomIDs)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(size>>20, "MiB")
	// Output: 18 MiB
}
