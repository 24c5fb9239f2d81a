package gpt_test

import (
	"fmt"
	"log"
	"os"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// At its first boot a node gives what is left of its disk to DATA.
func Example() {
	f, err := os.CreateTemp("", "disk")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	const size = 64 << 20
	if err := f.Truncate(size); err != nil {
		log.Fatal(err)
	}
	t, err := gpt.New(gpt.RandomGUID(), 512, 32<<20) // an image smaller than the disk
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Write(f); err != nil {
		log.Fatal(err)
	}

	t, err = gpt.Read(f, size)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Resize(size); err != nil {
		log.Fatal(err)
	}
	p, err := t.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.Write(f); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Number, p.Name, t.Bytes(p)>>20, "MiB")
	// Output: 1 DATA 62 MiB
}
