package e2fsck

import (
	"testing"

	"github.com/digital-mycelium/os/rootfs/internal/static"
)

func TestBuild(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		c, err := Build(t.Context(), "../..", arch)
		if err != nil {
			t.Fatal(err)
		}
		if err := static.Check(c.File, arch); err != nil {
			t.Error(err)
		}
	}
}
