package pieces_test

import (
	"fmt"

	"github.com/digital-mycelium/os/pkg/update/pieces"
)

// The head of a file, and the pieces that it lists.
func ExampleParse() {
	list := []pieces.Piece{{Name: "os.head", Size: 4096}, {Name: "config.txt", Size: 120}, {Name: "kernel8.img", Size: 10000}}
	text, err := pieces.Format(list)
	if err != nil {
		panic(err)
	}
	head := make([]byte, pieces.Page)
	copy(head[pieces.ListAt:], text)
	read, err := pieces.Parse(head, 20480)
	if err != nil {
		panic(err)
	}
	for _, p := range read {
		fmt.Printf("%-11s %5d bytes at %d\n", p.Name, p.Size, p.Offset)
	}
	// Output:
	// os.head      4096 bytes at 0
	// config.txt    120 bytes at 4096
	// kernel8.img 10000 bytes at 8192
}
