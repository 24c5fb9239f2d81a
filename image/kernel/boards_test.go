package kernel

import (
	"os"
	"testing"

	"github.com/digital-mycelium/os/board"
)

// TestOptionsAreSet resolves the configuration of every board: Config fails,
// with a line for each, when an option that a fragment asks for is not set.
func TestOptionsAreSet(t *testing.T) {
	names := board.Names()
	for _, name := range names {
		if with, err := board.WithWiFi(name); err == nil && with != name {
			names = append(names, with)
		}
	}
	for _, name := range names {
		b, err := board.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		config, err := Config(t.Context(), "../..", Spec{
			Source: b.Kernel.Source, Fragments: b.Kernel.Fragments,
			Target: b.Kernel.Target, Image: b.Kernel.Image, Arch: b.Arch, Patches: b.Kernel.Patches,
		})
		if err != nil {
			t.Errorf("board %s: %v", name, err)
			continue
		}
		if st, err := os.Stat(config); err != nil || st.Size() == 0 {
			t.Errorf("board %s: configuration %s: %v", name, config, err)
		}
	}
}
