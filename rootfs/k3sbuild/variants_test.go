//go:build variants

package k3sbuild

import (
	"debug/buildinfo"
	"testing"
)

// TestVariants compiles what the image of no board has yet: both programs for
// arm64, and K3s with embedded etcd. Build checks that they are static programs
// for the right processor. A program far above its size has usually lost the
// linker's pruning of methods (docs/decisions/k3s-size-and-speed.md).
func TestVariants(t *testing.T) {
	for _, tt := range []struct {
		arch          string
		opts          Options
		maxK3s, maxRT int64 // bytes
		etcd          bool
	}{
		{arch: "arm64", maxK3s: 115e6, maxRT: 20e6},
		{arch: "amd64", opts: Options{Etcd: true}, maxK3s: 135e6, maxRT: 20e6, etcd: true},
	} {
		k3s, rt, err := Build(t.Context(), repoRoot, tt.arch, tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %+v: k3s %d bytes, rt %d bytes", tt.arch, tt.opts, k3s.RawSize, rt.RawSize)
		if k3s.RawSize > tt.maxK3s || rt.RawSize > tt.maxRT {
			t.Errorf("%s %+v: more than %d and %d bytes", tt.arch, tt.opts, tt.maxK3s, tt.maxRT)
		}
		if has := linksModule(t, k3s.File, "go.etcd.io/etcd/server/v3"); has != tt.etcd {
			t.Errorf("%s %+v: has the etcd server: %v", tt.arch, tt.opts, has)
		}
	}
}

// linksModule reports whether a program has packages of a module.
func linksModule(t *testing.T, file, module string) bool {
	t.Helper()
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return true
		}
	}
	return false
}
