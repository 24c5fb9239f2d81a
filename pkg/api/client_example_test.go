package api_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// An operator asks a node of the network for its status. The verifier, the key
// and the credential are in the network's directory.
func ExampleNewClient() {
	var (
		verifier   *identity.Verifier
		key        identity.PrivateKey
		credential []byte
	)
	own, err := identity.TLSCertificate(key, credential)
	if err != nil {
		log.Print(err)
		return
	}
	client, err := api.NewClient(api.ClientConfig{
		Address: "192.168.1.20",
		TLS: verifier.ClientTLS(identity.TLSOptions{
			Certificate: func() (*tls.Certificate, error) { return &own, nil },
		}),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
	status, err := client.Status(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(status.Name, "is in phase", status.Phase)
}
