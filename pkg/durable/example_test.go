package durable_test

import (
	"log"

	"github.com/digital-mycelium/os/pkg/durable"
)

func Example() {
	if err := durable.MkdirAll("/var/lib/example", 0o700); err != nil {
		log.Fatal(err)
	}
	if err := durable.WriteFile("/var/lib/example/counter", []byte("7\n"), 0o600); err != nil {
		log.Fatal(err)
	}
}
