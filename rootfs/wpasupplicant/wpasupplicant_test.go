package wpasupplicant

import (
	"os/exec"
	"runtime"
	"strings"
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
		if arch != runtime.GOARCH {
			continue
		}
		out, err := exec.Command(c.File, "-h").Output()
		if err != nil || !strings.Contains(string(out), "nl80211") || strings.Contains(string(out), "wext =") {
			t.Errorf("its drivers are not nl80211 alone: %v\n%s", err, out)
		}
	}
	if _, err := Build(t.Context(), "../..", "mips"); err == nil {
		t.Error("an unknown architecture is built for")
	}
}
