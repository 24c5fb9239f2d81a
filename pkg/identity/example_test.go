package identity_test

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A network is founded, a newcomer joins it with a token, and calls the node
// that admitted it.
func Example() {
	dir, err := os.MkdirTemp("", "identity")
	check(err)
	defer os.RemoveAll(dir)
	now := time.Now()

	// The founder makes the root key, keeps it offline, and delegates to an issuer.
	root, issuerKey := identity.GenerateKey(), identity.GenerateKey()
	network := identity.NetworkOf(root.Public())
	delegation, err := identity.Sign(root, identity.Delegation{
		Network: network, Root: root.Public(), Issuer: issuerKey.Public(),
		Caps: identity.Caps{API: identity.Operator, Node: identity.Server}, MaxValidity: 7 * 24 * time.Hour,
		FirstSerial: 1, Count: 1000, NotBefore: now, NotAfter: now.AddDate(1, 0, 0),
	})
	check(err)

	// The issuer's machine.
	clock, err := identity.OpenClock(filepath.Join(dir, "clock"), now, nil)
	check(err)
	verifier, err := identity.CreateVerifier(filepath.Join(dir, "trust"), network, identity.NetworkID{}, clock)
	check(err)
	issuer, err := identity.CreateIssuer(filepath.Join(dir, "ledger"), issuerKey, delegation, verifier)
	check(err)
	request, err := identity.Sign(issuerKey, identity.Request{Network: network, Key: issuerKey.Public(), Mesh: [32]byte{1}, Name: "first"})
	check(err)
	credential, err := issuer.Issue(request, identity.Caps{Node: identity.Server})
	check(err)
	token, err := issuer.Invite(identity.Caps{API: identity.Reader, Node: identity.Agent}, 1, time.Hour)
	check(err)
	fmt.Println("invite:", token)

	// The newcomer's machine, which was given the token.
	token, err = identity.ParseToken(token.Reveal())
	check(err)
	key := identity.GenerateKey()
	request, err = token.Request(key, [32]byte{2}, "second")
	check(err)

	// The issuer admits it: over TLS, with TLSOptions.Admit and PeerRequest.
	member, err := issuer.Admit(request)
	check(err)

	config := func(key identity.PrivateKey, credential []byte) identity.TLSOptions {
		cert, err := identity.TLSCertificate(key, credential)
		check(err)
		return identity.TLSOptions{Certificate: func() (*tls.Certificate, error) { return &cert, nil }}
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", verifier.ServerTLS(config(issuerKey, credential)))
	check(err)
	go func() {
		conn, err := tls.Dial("tcp", listener.Addr().String(), verifier.ClientTLS(config(key, member)))
		check(err)
		check(conn.Close())
	}()
	conn, err := listener.Accept()
	check(err)
	defer func() { check(conn.Close()) }()
	_, err = io.Copy(io.Discard, conn)
	check(err)
	caller, err := verifier.Authorize(conn.(*tls.Conn).ConnectionState(), identity.Reader)
	check(err)
	fmt.Printf("%s: %s\n", caller.Name, caller.Caps)
	_, err = verifier.Authorize(conn.(*tls.Conn).ConnectionState(), identity.Admin)
	fmt.Println(err)
	// Output:
	// invite: (secret)
	// second: api reader, node agent
	// role not sufficient: second has the role reader, this call needs admin
}

// Root keys are kept under a passphrase. With no recipient but a machine's own
// age identity, WriteKey and ReadKey serve for nodes that start unattended.
func ExampleWriteKey() {
	key, phrase := identity.GenerateKey(), identity.NewPassphrase("correct horse battery staple")
	check(identity.WriteKey("root.age", key, phrase))
	again, err := identity.ReadKey("root.age", phrase)
	check(err)
	fmt.Println(again.Public() == key.Public())
}

// A developer vouches for an OS file that is no release.
func ExampleOSFile() {
	developer := identity.GenerateKey() // its public key is in the nodes' configuration
	file := []byte("the OS file")
	statement, err := identity.Sign(developer, identity.OSFile{
		Network: identity.NetworkID{1}, Key: developer.Public(), Version: "1.2.3-rc.1", Board: "qemu-amd64",
		Digest: sha256.Sum256(file), Size: uint64(len(file)), NotAfter: time.Now().Add(time.Hour),
	})
	check(err)

	// The node.
	says, err := identity.Parse[identity.OSFile](statement)
	check(err)
	fmt.Println(says.Version, says.Board, says.Key == developer.Public(), says.Digest == sha256.Sum256(file))
	// Output: 1.2.3-rc.1 qemu-amd64 true true
}
