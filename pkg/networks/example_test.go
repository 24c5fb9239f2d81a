package networks_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// A network to throw away: nobody types a passphrase.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store := &networks.Store{Dir: filepath.Join(dir, "networks")}
	if err := store.Create(ctx, "test", networks.CreateOptions{Operator: "ann"}); err != nil {
		log.Print(err)
		return
	}
	n, err := store.Open(ctx, "test")
	if err != nil {
		log.Print(err)
		return
	}
	defer n.Close()
	token, err := n.Invite(identity.Agent, 3, networks.CertificateValidity/10)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(n.Certificate().Name, n.Certificate().Caps, len(n.Nodes()), token)
	// Output: ann api admin, node none 0 (secret)
}
