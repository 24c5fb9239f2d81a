//go:build variants

package k3sbuild

import "testing"

// TestVariants compiles what the image of no board has yet: both programs for
// arm64. Build checks that they are static programs
// for the right processor. A program far above its size has usually lost the
// linker's pruning of methods (docs/decisions/k3s-size-and-speed.md).
func TestVariants(t *testing.T) {
	for _, tt := range []struct {
		arch          string
		maxK3s, maxRT int64 // bytes
	}{
		{arch: "arm64", maxK3s: 120e6, maxRT: 20e6},
	} {
		k3s, rt, err := Build(t.Context(), repoRoot, tt.arch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: k3s %d bytes, rt %d bytes", tt.arch, k3s.RawSize, rt.RawSize)
		if k3s.RawSize > tt.maxK3s || rt.RawSize > tt.maxRT {
			t.Errorf("%s: more than %d and %d bytes", tt.arch, tt.maxK3s, tt.maxRT)
		}
	}
}
