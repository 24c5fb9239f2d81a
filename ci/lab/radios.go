package lab

import (
	"context"
	"io"
	"path/filepath"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
)

// WithRadios builds the image of qemu-amd64 with Wi-Fi and a kernel that simulates two
// wireless cards (mac80211_hwsim), and returns the suite for it. QEMU has none. The
// kernel is another one of some minutes' build when the cache does not have it.
func (s *Suite) WithRadios(ctx context.Context) (*Suite, error) {
	b, err := board.Load("qemu-amd64")
	if err != nil {
		return nil, err
	}
	pc, err := board.Load("pc")
	if err != nil {
		return nil, err
	}
	b.Kernel.Fragments = append(b.Kernel.Fragments, pc.WiFi.Fragments[0], "../ci/lab/hwsim.config")
	// the regulatory database
	b.WiFi = &board.WiFi{Always: true, Firmware: pc.WiFi.Firmware[:1]}
	on := &Suite{
		Root: s.Root, Board: b.Name, Demo: s.Demo, Out: s.Out, Keep: s.Keep, Times: s.Times, kubectl: s.kubectl, probe: s.probe,
		Image: filepath.Join(s.Out, "wifi", image.DiskImage),
	}
	_, err = image.Build(ctx, image.Options{RepoRoot: s.Root, Changed: b, Out: filepath.Dir(on.Image), Log: io.Discard})
	return on, err
}
