package api_test

import (
	"context"
	"fmt"
	"log"

	"github.com/digital-mycelium/os/pkg/api"
)

// An authority for a development network, and a client of one of its nodes.
func ExampleNewClient() {
	authority, err := api.NewAuthority("home")
	if err != nil {
		log.Fatal(err)
	}
	operator, err := authority.Operator("me")
	if err != nil {
		log.Fatal(err)
	}
	client, err := api.NewClient(api.ClientConfig{
		Address: "127.0.0.1:6440", ServerName: "node-1",
		CA: authority.Pair().Certificate, Operator: operator,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	status, err := client.Status(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(status.Name, "is in phase", status.Phase)
}
