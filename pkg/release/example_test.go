package release_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
)

// An owner publishes a release, and a node finds it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "release")
	check(err)
	defer os.RemoveAll(dir)

	key := identity.GenerateKey()
	owner := repository.Signers{Keys: []identity.PublicKey{key.Public()}, Threshold: 1}
	served := filepath.Join(dir, "served")
	repo, err := repository.Create(served, repository.Settings{Signers: map[string]repository.Signers{
		repository.Root: owner, repository.Targets: owner, repository.Snapshot: owner, repository.Timestamp: owner,
	}}, time.Now)
	check(err)
	file := filepath.Join(dir, "os.efi")
	check(os.WriteFile(file, []byte("a whole operating system"), 0o600))
	check(repo.Add(release.Attributes{
		Version: "1.1.0", Board: "x86", Channels: []string{"stable"},
		Waves: []release.Wave{{Percent: 100, After: release.Duration(0)}},
	}, file, nil))
	_, err = repo.Sign(key.Signer())
	check(err)
	check(repo.Publish(ctx))

	node, err := release.Open(release.Options{Root: repo.Digest(), Fetch: release.Directory(served), Board: "x86"})
	check(err)
	changed, err := node.Refresh(ctx)
	check(err)
	fmt.Println("changed:", changed)
	for _, r := range node.Releases() {
		fmt.Println(r.Version, r.OS.Size, "bytes, due:", r.Due("stable", []byte("the node's key"), time.Now()))
	}
	changed, err = node.Refresh(ctx)
	check(err)
	fmt.Println("changed:", changed)
	// Output:
	// changed: true
	// 1.1.0 24 bytes, due: true
	// changed: false
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
