package qemu_test

import (
	"context"
	"fmt"
	"log"
	"regexp"
	"time"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// Three nodes, a power cut on the first, and an end that leaves nothing.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	network, err := qemu.Create(ctx, "/tmp/home", qemu.NetworkSpec{
		Name: "home", Nodes: 3, Servers: 1,
		Node: qemu.NodeSpec{Image: "out/qemu-amd64/disk.img", MemoryMiB: 1024},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := network.Start(ctx, qemu.StartOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := network.Wait(ctx, qemu.WaitReady, nil); err != nil {
		log.Fatal(err) // says which node, how far it got, and its last words
	}
	first := network.Nodes()[0]
	if err := first.Kill(ctx); err != nil { // the power is cut
		log.Fatal(err)
	}
	if err := first.Start(ctx); err != nil { // the same disk again
		log.Fatal(err)
	}
	seen, err := first.Until(ctx, qemu.WaitReady, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Ready again after", seen.Elapsed)
	if _, err := network.Down(ctx, qemu.DownOptions{}); err != nil {
		log.Fatal(err)
	}
}

// One machine without a network around it, watched on its serial port.
func ExampleStart() {
	ctx := context.Background()
	node, err := qemu.Start(ctx, qemu.NodeSpec{Name: "solo", Dir: "/tmp/solo", Image: "disk.img"})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := node.Kill(ctx); err != nil {
			log.Print(err)
		}
	}()
	match, err := node.WaitConsole(ctx, regexp.MustCompile(`mycelium: init (\S+) started`))
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("running version", match[1])
}
