package config_test

import (
	"fmt"

	"github.com/digital-mycelium/os/pkg/config"
)

func ExampleParse() {
	c, err := config.Parse([]byte(`
apiVersion: mycelium.os/v1alpha1
kind: NodeConfig
hostname: kitchen
network:
  interfaces:
    - name: eth0
      addresses: [192.168.1.10/24]
      gateway: 192.168.1.1
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Hostname, c.Network.Interfaces[0].Addresses)

	_, err = config.Parse([]byte("apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostnam: kitchen\n"))
	fmt.Println(err)
	// Output:
	// kitchen [192.168.1.10/24]
	// line 3, column 1: hostnam: unknown field (did you mean hostname?)
}

// The owner of a machine writes its document; the secret stands in it, and
// nowhere else.
func ExampleConfig_Document() {
	c := config.Default()
	c.Hostname = "kitchen"
	c.Membership.Invite = "secret"
	doc, err := c.Document()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(doc))
	fmt.Printf("%+v\n", c.Membership)
	// Output:
	// apiVersion: mycelium.os/v1alpha1
	// kind: NodeConfig
	// hostname: kitchen
	// membership:
	//   invite: secret
	// {Network: Invite:(secret) Peers:[]}
}
